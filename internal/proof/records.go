package proof

import (
	"context"
	"errors"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/internal/trail"
)

const (
	maxPage = 100
	// maxScan bounds the records that one page is looked for in, about a second's work.
	maxScan = 100_000
)

// Query asks for records of the node, oldest first.
type Query struct {
	audit.Filter
	Limit int
	// After is the index of a record, exclusive; nil begins at the oldest, or with Last so many before the end.
	After *uint64
	Last  uint64
}

// Page is a page of records as their lines stand in the log, byte for byte. After is the index to go on behind, nil
// at the end.
type Page struct {
	Node  string
	Lines [][]byte
	After *uint64
}

// Records returns a page.
func (a *Auditor) Records(ctx context.Context, call access.Call, q Query) (Page, error) {
	o, err := a.guard.Begin(ctx, call, access.AuditRead)
	if err != nil {
		return Page{}, err
	}
	q.Environment = o.Environment()
	page, err := a.records(q)
	return trail.Answer(ctx, o, page, err)
}

func (a *Auditor) records(q Query) (Page, error) {
	page := Page{Node: a.config.Log.Node()}
	if q.Limit < 1 {
		return page, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	next, err := a.begin(q)
	if err != nil {
		return page, err
	}
	limit, looked, enough := min(q.Limit, maxPage), 0, errors.New("enough")
	for {
		err := audit.Read(a.config.Log.Dir(), next, func(r audit.Record, line []byte) error {
			if len(page.Lines) == limit || looked == maxScan {
				return enough
			}
			looked++
			next = r.Index + 1
			if q.Match(&r) {
				page.Lines = append(page.Lines, append([]byte(nil), line...))
			}
			return nil
		})
		gap := new(audit.GapError)
		switch {
		case err == nil:
			return page, nil
		case errors.As(err, &gap):
			next = gap.Found
		case errors.Is(err, audit.ErrCorrupt):
			next++
		case errors.Is(err, enough) && len(page.Lines) == 0:
			return page, &InvalidError{Field: "range_start", Rule: "must be nearer: too many records would have to be looked at for one that matches"}
		case errors.Is(err, enough):
			last := next - 1
			page.After = &last
			return page, nil
		default:
			return page, &outage.Error{Dependency: outage.Audit, Cause: err}
		}
	}
}

// begin is the first index that is looked at.
func (a *Auditor) begin(q Query) (uint64, error) {
	if q.After != nil {
		return *q.After + 1, nil
	}
	begin, err := audit.Begin(a.config.Log.Dir(), q.Since)
	if err == nil && q.Last > 0 {
		var low, end uint64
		low, end, err = audit.End(a.config.Log.Dir())
		begin = max(begin, low, end-min(end, q.Last))
	}
	if err != nil {
		return 0, &outage.Error{Dependency: outage.Audit, Cause: err}
	}
	return begin, nil
}
