package keys

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"

	"culvert/internal/access"
	"culvert/internal/outage"
)

// MaxFindings bounds the records that a verification names. What is beyond is counted, and in the log.
const MaxFindings = 100

// Finding is a record that is not what was stored, or that cannot be opened.
type Finding struct {
	// Record is the record's key in the store: its kind and ids. No name and no value is in it. One that nobody
	// here has made is quoted.
	Record string `cbor:"1,keyasint"`
	// Code is what a client who needs the record is told.
	Code string `cbor:"2,keyasint"`
}

// EvidenceStore walks all records of an environment, for a verification. It may look at records that are not
// on the walk, where others lead to them.
type EvidenceStore interface {
	// RecordKeys are the keys of up to limit records behind after, in the order of the walk; none at its end.
	RecordKeys(ctx context.Context, env access.EnvironmentID, after string, limit int) ([]string, error)
	CountRecords(ctx context.Context, env access.EnvironmentID) (uint64, error)
	// Evidence is what is to be opened of one record; nil if the record is gone. The record and all that
	// belongs to it are looked at as they stood at one moment. [ErrTampered] for what is wrong without
	// anything being opened, [ErrConflict] if that moment has passed out of reach.
	Evidence(ctx context.Context, env access.EnvironmentID, key string) (*Evidence, error)
}

// Evidence is what a record proves by opening.
type Evidence struct {
	// Environment is set for the keysets of an environment, KEK for those of a KEK.
	Environment *EnvironmentRecord
	KEK         *KEKRecord
	// Values are those that are sealed in the record or belong to it.
	Values []SealedValue
}

// SealedValue is a value with what it is bound to. Values are large: each is read when its turn comes.
type SealedValue struct {
	Context Context
	Binding DEKBinding
	// Read returns errors as [EvidenceStore].Evidence does.
	Read func(context.Context) (Sealed, error)
}

// proof is what came of one record.
type proof struct {
	opened   uint64
	shredded bool
	failed   error
}

// verify is the job of that kind: it looks at every record, opens everything that is sealed in it under the
// AAD that names its place, and changes nothing. What is opened is wiped at once and looked at by nobody.
func (w *worker) verify(ctx context.Context) error {
	if w.job.Cursor == "" {
		total, err := w.store.CountRecords(ctx, w.env())
		if err != nil {
			return err
		}
		w.job.Counts.Total = total
	}
	for after := w.job.Cursor; ; {
		page, err := w.store.RecordKeys(ctx, w.env(), after, stepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for some := range slices.Chunk(page, w.width()) {
			if err := w.verifySome(ctx, some); err != nil {
				return err
			}
		}
		after = page[len(page)-1]
	}
}

// maxRecordKey is more than the keys of our records have.
const maxRecordKey = 512

// isOurs reports a key that a record of ours may have. A writer of etcd puts what he likes beside them: bytes that
// no job record can hold, or that would rewrite the report on the terminal of who reads it.
func isOurs(key string) bool {
	return len(key) <= maxRecordKey && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })
}

// shown is a record's key for reports and logs.
func shown(key string) string {
	if isOurs(key) {
		return key
	}
	return strconv.QuoteToASCII(key[:min(len(key), maxRecordKey)])
}

func (w *worker) verifySome(ctx context.Context, some []string) error {
	proofs := make([]proof, len(some))
	var work sync.WaitGroup
	for i, key := range some {
		if err := w.step(ctx); err != nil {
			break // the context has ended; done says so below
		}
		work.Go(func() { proofs[i] = w.prove(ctx, key) })
	}
	work.Wait()
	for i, key := range some {
		w.note(key, proofs[i])
		if err := w.done(ctx, key, false, proofs[i].failed); err != nil {
			return err
		}
	}
	return nil
}

// note counts what done does not. What stops the job is no finding: the record is looked at again.
func (w *worker) note(key string, p proof) {
	down := outage.Of(p.failed)
	if down != nil && down.Dependency != outage.CMK {
		return
	}
	w.job.Counts.Opened += p.opened
	if p.shredded {
		w.job.Counts.Shredded++
	}
	if p.failed == nil {
		return
	}
	if down != nil || errors.Is(p.failed, ErrRefused) {
		w.job.Counts.Refused++
	}
	if len(w.job.Findings) < MaxFindings {
		w.job.Findings = append(w.job.Findings, Finding{Record: shown(key), Code: codeOf(p.failed)})
	}
}

// codeOf is what a client is told of an error that a verification finds.
func codeOf(err error) string {
	down := outage.Of(err)
	switch {
	case down != nil:
		return down.Code()
	case errors.Is(err, ErrCMKRefused): // before ErrRefused, which it is too
		return "cmk_refused"
	case errors.Is(err, ErrRefused):
		return "root_key_refused"
	case errors.Is(err, ErrConflict):
		return "concurrent_request"
	}
	return "integrity_failure"
}

// prove looks at one record. One that changes while it is looked at is looked at again.
func (w *worker) prove(ctx context.Context, key string) (p proof) {
	p.failed = w.again(ctx, func() error {
		p = proof{}
		e, err := w.store.Evidence(ctx, w.env(), key)
		if err != nil || e == nil {
			return err
		}
		if e.Environment != nil {
			if _, err := OpenEnvironment(ctx, w.keys.roots, *e.Environment); err != nil {
				return err
			}
			p.opened += 3
		}
		if e.KEK != nil {
			if err := w.proveKEK(ctx, e.KEK, &p); err != nil {
				return err
			}
		}
		for _, v := range e.Values {
			if err := w.proveValue(ctx, v, &p); err != nil {
				return err
			}
		}
		return nil
	})
	return p
}

// proveKEK unwraps a KEK, past the cache: what is in memory proves nothing of what is stored. A tombstone
// proves itself by its MAC.
func (w *worker) proveKEK(ctx context.Context, r *KEKRecord, p *proof) error {
	err := r.check(w.env(), r.KeyID)
	if err == nil {
		err = w.keys.checkMarkers(ctx, r)
	}
	if errors.Is(err, ErrShredded) {
		return nil
	}
	if err == nil {
		_, err = openKEK(ctx, w.keys.wrappers(), r)
	}
	if err == nil {
		p.opened++
	}
	return err
}

func (w *worker) proveValue(ctx context.Context, v SealedValue, p *proof) error {
	sealed, err := v.Read(ctx)
	if err != nil {
		return err
	}
	with, _, err := w.keys.load(ctx, w.env(), sealed.KeyID)
	switch {
	case errors.Is(err, ErrShredded):
		p.shredded = true
		return nil
	case errors.Is(err, ErrKEKNotFound):
		return ErrTampered // even a shredded KEK leaves a tombstone
	case err != nil:
		return err
	case with.context != v.Context.Canonical():
		return ErrTampered
	}
	if err := with.proves(sealed, v.Binding.bind); err != nil {
		return err
	}
	p.opened++
	return nil
}

// endVerify ends the job: failed, if there is anything to be told.
func (w *worker) endVerify(ctx context.Context) error {
	if w.job.Counts.Failed > 0 {
		w.log.LogAttrs(ctx, slog.LevelError, "records are not what was stored, or cannot be opened",
			slog.String("job", string(w.job.ID)), slog.Uint64("records", w.job.Counts.Failed))
		return w.end(ctx, "findings")
	}
	return w.end(ctx, "")
}
