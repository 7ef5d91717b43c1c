package server

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/proof"
)

// listRecords is GET /culvert/v1/audit/records, of the node that answers. The lines stand in the answer as they stand
// in the log, byte for byte: who hashes one gets the leaf of its proof.
func (s *Server) listRecords() handler {
	return handle(endpoint[proof.Query, proof.Page]{
		status: http.StatusOK,
		decode: decodeRecords,
		call:   s.auditor.Records,
		encode: func(b []byte, p proof.Page) ([]byte, error) {
			w := &jsonWriter{b: b}
			after := ""
			if p.After != nil {
				after = strconv.FormatUint(*p.After, 10)
			}
			list(w, p.Lines, "", after, func(line []byte) { w.b = append(w.b, line...) })
			return w.done()
		},
	})
}

func decodeRecords(x *exchange) (proof.Query, error) {
	var q proof.Query
	p, err := x.query()
	if err != nil {
		return q, err
	}
	var after string
	if q.Limit, after, err = pageAfter[string](p); err != nil {
		return q, err
	}
	if after != "" {
		index, ok := number(after)
		if !ok {
			return q, unknownCursor()
		}
		q.After = &index
	}
	if q.Last, err = p.number("last"); err != nil {
		return q, err
	}
	for _, bound := range []struct {
		name string
		into *time.Time
	}{{"range_start", &q.Since}, {"range_end", &q.Until}} {
		text, err := p.text(bound.name)
		if err != nil {
			return q, err
		}
		if *bound.into, err = moment(bound.name, text); err != nil {
			return q, err
		}
	}
	if q.Actor, err = p.text("actor_id"); err != nil {
		return q, err
	}
	action, err := p.text("action")
	if err != nil {
		return q, err
	}
	outcome, err := p.text("outcome")
	if err != nil {
		return q, err
	}
	q.Action, q.Result = access.Action(action), audit.Result(outcome)
	switch q.Result {
	case "", audit.Allowed, audit.Denied, audit.Failed:
		return q, nil
	}
	return q, malformedQuery("outcome", "must be allowed, denied or failed")
}

// number reads a decimal number of any size that fits.
func number(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 63)
	return n, err == nil && text == strconv.FormatUint(n, 10)
}

// number is a parameter that is a number; 0 if it is absent.
func (q query) number(name string) (uint64, error) {
	text, err := q.text(name)
	if err != nil || text == "" {
		return 0, err
	}
	n, ok := number(text)
	if !ok {
		return 0, malformedQuery(name, "must be a number")
	}
	return n, nil
}

// listCheckpoints is GET /culvert/v1/audit/checkpoints.
func (s *Server) listCheckpoints() handler {
	return handle(endpoint[string, proof.Signatures]{
		status: http.StatusOK,
		decode: func(x *exchange) (string, error) {
			p, err := x.query()
			if err != nil {
				return "", err
			}
			return p.text("node")
		},
		call: s.auditor.Signed,
		encode: func(b []byte, all proof.Signatures) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"object":"audit_checkpoints","public_key":`)
			w.textOrNull(all.Key)
			w.raw(`,"key_changes":[`)
			for i, signed := range all.Changes {
				if i > 0 {
					w.raw(`,`)
				}
				w.text(signed)
			}
			w.raw(`],"nodes":[`)
			for i, n := range all.Nodes {
				if i > 0 {
					w.raw(`,`)
				}
				w.raw(`{"node":`)
				w.text(n.Node)
				w.raw(`,"checkpoints":[`)
				for j, signed := range n.Signed {
					if j > 0 {
						w.raw(`,`)
					}
					w.text(signed)
				}
				w.raw(`]}`)
			}
			w.raw(`]}`)
			return w.done()
		},
	})
}

// rotateAuditKey is POST /culvert/v1/audit/key/rotate. A body is not read.
func (s *Server) rotateAuditKey() handler {
	return handle(endpoint[struct{}, proof.KeyRotation]{
		status: http.StatusOK,
		decode: decodeNothing,
		call: func(ctx context.Context, c access.Call, _ struct{}) (proof.KeyRotation, error) {
			return s.auditor.RotateKey(ctx, c)
		},
		encode: func(b []byte, r proof.KeyRotation) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"object":"audit_key","public_key":`)
			w.text(r.Key)
			w.raw(`,"previous_public_key":`)
			w.textOrNull(r.Before)
			w.raw(`}`)
			return w.done()
		},
	})
}

// proveInclusion is GET /culvert/v1/audit/proofs/inclusion.
func (s *Server) proveInclusion() handler {
	return handle(endpoint[proof.InclusionQuery, proof.Inclusion]{
		status: http.StatusOK,
		decode: func(x *exchange) (q proof.InclusionQuery, err error) {
			q.Index, q.Size, err = x.two("index", "size")
			return q, err
		},
		call: s.auditor.Inclusion,
		encode: func(b []byte, p proof.Inclusion) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"object":"inclusion_proof","node":`)
			w.text(p.Node)
			w.raw(`,"index":`)
			w.b = strconv.AppendUint(w.b, p.Index, 10)
			w.raw(`,"size":`)
			w.b = strconv.AppendUint(w.b, p.Size, 10)
			w.hash(`,"leaf_hash":`, p.Leaf)
			w.hash(`,"root_hash":`, p.Root)
			w.proof(p.Hashes, p.Checkpoint)
			return w.done()
		},
	})
}

// proveConsistency is GET /culvert/v1/audit/proofs/consistency.
func (s *Server) proveConsistency() handler {
	return handle(endpoint[proof.ConsistencyQuery, proof.Consistency]{
		status: http.StatusOK,
		decode: func(x *exchange) (q proof.ConsistencyQuery, err error) {
			q.From, q.To, err = x.two("from", "to")
			return q, err
		},
		call: s.auditor.Consistency,
		encode: func(b []byte, p proof.Consistency) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.raw(`{"object":"consistency_proof","node":`)
			w.text(p.Node)
			w.raw(`,"from":`)
			w.b = strconv.AppendUint(w.b, p.From, 10)
			w.raw(`,"to":`)
			w.b = strconv.AppendUint(w.b, p.To, 10)
			w.hash(`,"from_root_hash":`, p.FromRoot)
			w.hash(`,"to_root_hash":`, p.ToRoot)
			w.proof(p.Hashes, p.Checkpoint)
			return w.done()
		},
	})
}

// two reads two numbers, of which the first has to be there.
func (x *exchange) two(first, second string) (a, b uint64, err error) {
	p, err := x.query()
	if err != nil {
		return 0, 0, err
	}
	if text, err := p.text(first); err != nil || text == "" {
		if err == nil {
			err = malformedQuery(first, "must be a number")
		}
		return 0, 0, err
	}
	if a, err = p.number(first); err != nil {
		return 0, 0, err
	}
	b, err = p.number(second)
	return a, b, err
}

func (w *jsonWriter) hash(member string, h tlog.Hash) {
	w.raw(member)
	w.text(base64.StdEncoding.EncodeToString(h[:]))
}

// proof ends the body of a proof: the hashes, and the checkpoint that signs the root.
func (w *jsonWriter) proof(hashes []tlog.Hash, checkpoint string) {
	w.raw(`,"hashes":[`)
	for i, h := range hashes {
		separator := ""
		if i > 0 {
			separator = ","
		}
		w.hash(separator, h)
	}
	w.raw(`],"checkpoint":`)
	w.textOrNull(checkpoint)
	w.raw(`}`)
}
