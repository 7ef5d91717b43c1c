package keys

import (
	"context"
	"errors"
	"strings"

	"culvert/internal/access"
	"culvert/internal/events"
	"culvert/internal/trail"
)

// AttachRequest asks for a CMK.
type AttachRequest struct {
	Item Item
	// Key is the key's URI, or its provider's name for it: an ARN.
	Key string
	// DryRun tries the key and counts KEKs, and changes nothing.
	DryRun bool
	// Rate is that of the job.
	Rate int
}

// check refuses what cannot be a CMK, and returns the URI of the key.
func (r *AttachRequest) check(k *Keys) (uri string, err error) {
	if r.Item == (Item{}) {
		return "", &InvalidError{Field: "context_name", Rule: "must not be empty"}
	}
	if err := r.Item.check(); err != nil {
		return "", err
	}
	switch {
	case strings.Contains(r.Item.Name, "="):
		return "", &InvalidError{Field: "context_name", Rule: "must not have an equals sign"}
	case strings.HasPrefix(r.Item.Name, "aws:"):
		return "", &InvalidError{Field: "context_name", Rule: "must not begin with aws:, which the AWS KMS keeps for itself"}
	}
	if err := checkRate(r.Rate); err != nil {
		return "", err
	}
	uri, ok := k.customers.name(r.Key)
	switch {
	case !ok:
		return "", &InvalidError{Field: "key", Rule: "must be the full ARN of a key in the AWS KMS, and not that of an alias, or the URI of a key that this server has in its settings"}
	case uri == k.roots.Current().URI():
		return "", &InvalidError{Field: "key", Rule: "must be another key than the root key"}
	}
	return uri, nil
}

// AttachCMK puts the KEKs whose context has an item under a customer's key, beside the root key: those that
// are made from now on at once, those that are there by the job that it returns. The key is tried first.
//
// A CMK whose last job was cancelled or has failed is gone on with.
//
// Errors: [*InvalidError], [ErrCMKExists], [ErrCMKBusy], [ErrTooManyCMKs], [ErrTooManyJobs], [*CMKError].
func (ops *Operations) AttachCMK(ctx context.Context, call access.Call, r AttachRequest) (Job, error) {
	o, err := ops.begin(ctx, call, access.CMKAttach)
	if err != nil {
		return Job{}, err
	}
	job, err := trail.Once(ctx, o.Operation, func(ctx context.Context) (Job, error) { return o.attachCMK(ctx, r) }, o.jobAgain)
	return trail.Committed(ctx, o.Operation, job, err)
}

func (o *operation) attachCMK(ctx context.Context, r AttachRequest) (Job, error) {
	uri, err := r.check(o.ops.keys)
	if err != nil {
		return Job{}, err
	}
	o.Record.KeyContext = map[string]string{r.Item.Name: r.Item.Value}
	fresh := CMK{ID: CMKID(o.ops.keys.newID()), Item: r.Item, KeyURI: uri, CreatedAt: o.ops.keys.now().UTC()}
	job := o.newJob(JobRequest{Kind: AttachJob, Scope: Scope{Item: r.Item}, DryRun: r.DryRun, Rate: r.Rate})
	var told []events.Event
	err = o.retry(ctx, func() error {
		m, revision, err := o.ops.store.CMKMap(ctx, o.Environment())
		if err != nil {
			return err
		}
		c, err := o.attachable(ctx, m, fresh)
		if err != nil {
			return err
		}
		o.Record.ObjectID = string(c.ID)
		if err := o.Intend(ctx); err != nil {
			return err
		}
		if told == nil {
			verified, err := o.verified(ctx, &c)
			if err != nil {
				return err
			}
			told = []events.Event{verified}
			o.Record.KeyID = c.KeyURI // not before it is known to be a key, whatever a caller calls so
		}
		c.State, c.Job = CMKAttaching, job.ID
		return o.beginCMKJob(ctx, &job, c, m, revision, told)
	})
	return job, err
}

// attachable is the CMK to attach: a new one, or the one that an earlier job has left.
func (o *operation) attachable(ctx context.Context, m *CMKMap, fresh CMK) (CMK, error) {
	c := fresh
	if found := m.of(fresh.Item); found != nil {
		if found.KeyURI != fresh.KeyURI || found.State == CMKAttached {
			return CMK{}, ErrCMKExists
		}
		if err := o.idle(ctx, found); err != nil {
			return CMK{}, err
		}
		c = *found
	}
	if next := m.with(c); next.full() {
		return CMK{}, ErrTooManyCMKs
	}
	return c, nil
}

// idle refuses a CMK whose job has not ended: two jobs would undo each other's work.
func (o *operation) idle(ctx context.Context, c *CMK) error {
	found, err := o.ops.store.Job(ctx, o.Environment(), c.Job)
	switch {
	case errors.Is(err, ErrNoJob):
		return nil // it ended, and made room for others
	case err != nil:
		return err
	case !found.Job.ended():
		return ErrCMKBusy
	}
	return nil
}

// verified tries a CMK and returns the event of its success. That of a refusal is committed by itself.
func (o *operation) verified(ctx context.Context, c *CMK) (events.Event, error) {
	failed := o.ops.keys.customers.verify(ctx, o.Environment(), c)
	if failed != nil && !errors.Is(failed, ErrCMKRefused) {
		return events.Event{}, failed // out of reach: nothing is known of it
	}
	e, err := c.verified(failed == nil, o.ops.keys.now(), o.cause())
	if err != nil || failed == nil {
		return e, err
	}
	if err := o.ops.store.Tell(ctx, o.Environment(), e); err != nil {
		return events.Event{}, err
	}
	return events.Event{}, failed
}

// beginCMKJob stores a job with the CMK that it is about. A dry run leaves the map alone.
func (o *operation) beginCMKJob(ctx context.Context, job *Job, c CMK, m *CMKMap, revision int64, told []events.Event) error {
	if err := makeRoom(ctx, o.ops.store, o.Environment()); err != nil {
		return err
	}
	job.Node, job.Index = o.Intent()
	created, err := job.event(events.JobCreated, job.CreatedAt)
	if err != nil {
		return err
	}
	change := CMKChange{Job: job, Events: append([]events.Event{created}, told...)}
	job.KeyURI = c.KeyURI
	if !job.DryRun {
		job.CMK = c.ID
		next := m.with(c)
		change.Map, change.MapRevision = &next, revision
	}
	o.Makes(string(job.ID))
	_, err = o.ops.store.ChangeCMKs(ctx, change)
	return err
}

// DetachRequest asks for the end of a CMK.
type DetachRequest struct {
	ID CMKID
	// DryRun counts KEKs, and changes nothing.
	DryRun bool
	Rate   int
}

// DetachCMK takes a customer's key from the KEKs under it, by the job that it returns. Each of them has to be
// unwrapped, so it needs the key; what is under a key that refuses for good can only be shredded. The item
// has its CMK until the job has succeeded.
//
// Errors: [*InvalidError], [ErrNoCMK], [ErrCMKBusy], [ErrTooManyJobs], [*CMKError].
func (ops *Operations) DetachCMK(ctx context.Context, call access.Call, r DetachRequest) (Job, error) {
	o, err := ops.begin(ctx, call, access.CMKDetach)
	if err != nil {
		return Job{}, err
	}
	job, err := o.detachCMK(ctx, r)
	return trail.Committed(ctx, o.Operation, job, err)
}

func (o *operation) detachCMK(ctx context.Context, r DetachRequest) (Job, error) {
	if err := checkRate(r.Rate); err != nil {
		return Job{}, err
	}
	var job Job
	err := o.retry(ctx, func() error {
		c, m, revision, err := o.cmk(ctx, r.ID)
		if err != nil {
			return err
		}
		if err := o.idle(ctx, &c); err != nil {
			return err
		}
		if err := o.Intend(ctx); err != nil {
			return err
		}
		if err := o.detachable(ctx, &c); err != nil {
			return err
		}
		if job.ID == "" {
			job = o.newJob(JobRequest{Kind: DetachJob, Scope: Scope{Item: c.Item}, DryRun: r.DryRun, Rate: r.Rate})
		}
		if c.State != CMKReleased {
			c.State = CMKDetaching
		}
		c.Job = job.ID
		return o.beginCMKJob(ctx, &job, c, m, revision, nil)
	})
	return job, err
}

// detachable says at once what the job would find out: that the key refuses, and that it is needed. After a
// shred of its item it is not.
func (o *operation) detachable(ctx context.Context, c *CMK) error {
	refused := o.ops.keys.customers.verify(ctx, o.Environment(), c)
	if refused == nil {
		return nil
	}
	found, err := o.ops.store.KEKs(ctx, o.Environment(), c.Item, "", stepPage)
	if err != nil {
		return err
	}
	for _, k := range found {
		if k.Err == nil && k.Record.under(c.ref()) {
			return refused
		}
	}
	return nil
}

// cmk is the CMK with an id that a caller named, in the map and at the revision that it was found at.
func (o *operation) cmk(ctx context.Context, id CMKID) (CMK, *CMKMap, int64, error) {
	m, revision, err := o.ops.store.CMKMap(ctx, o.Environment())
	if err != nil {
		return CMK{}, nil, 0, err
	}
	found := m.find(id)
	if found == nil {
		return CMK{}, nil, 0, ErrNoCMK
	}
	o.Record.ObjectID, o.Record.KeyID, o.Record.Revision = string(id), found.KeyURI, revision
	o.Record.KeyContext = map[string]string{found.Item.Name: found.Item.Value}
	return *found, m, revision, nil
}

// VerifyCMK tries a CMK: wraps and unwraps something under it, as its KEKs are.
//
// Errors: [ErrNoCMK], [*CMKError].
func (ops *Operations) VerifyCMK(ctx context.Context, call access.Call, id CMKID) (CMK, error) {
	o, err := ops.begin(ctx, call, access.CMKVerify)
	if err != nil {
		return CMK{}, err
	}
	c, err := o.verifyCMK(ctx, id)
	return trail.Committed(ctx, o.Operation, c, err)
}

func (o *operation) verifyCMK(ctx context.Context, id CMKID) (CMK, error) {
	c, _, _, err := o.cmk(ctx, id)
	if err != nil {
		return CMK{}, err
	}
	if err := o.Intend(ctx); err != nil {
		return CMK{}, err
	}
	e, err := o.verified(ctx, &c)
	if err != nil {
		return CMK{}, err
	}
	return c, o.ops.store.Tell(ctx, o.Environment(), e)
}

// CMK returns one.
//
// Errors: [ErrNoCMK].
func (ops *Operations) CMK(ctx context.Context, call access.Call, id CMKID) (CMK, error) {
	o, err := ops.begin(ctx, call, access.CMKRead)
	if err != nil {
		return CMK{}, err
	}
	c, _, _, err := o.cmk(ctx, id)
	return trail.Answer(ctx, o.Operation, c, err)
}

// CMKPage is a page of CMKs in order of their creation. After is the cursor of the next one.
type CMKPage struct {
	Data  []CMK
	After CMKID
}

// CMKQuery asks for a page of CMKs.
type CMKQuery struct {
	Limit int
	// After is the id of a CMK, exclusive.
	After CMKID
}

// CMKs returns a page of CMKs. A limit above 100 means 100.
//
// Errors: [*InvalidError], [ErrUnknownCursor].
func (ops *Operations) CMKs(ctx context.Context, call access.Call, q CMKQuery) (CMKPage, error) {
	o, err := ops.begin(ctx, call, access.CMKRead)
	if err != nil {
		return CMKPage{}, err
	}
	page, err := o.cmks(ctx, q)
	return trail.Answer(ctx, o.Operation, page, err)
}

func (o *operation) cmks(ctx context.Context, q CMKQuery) (CMKPage, error) {
	if q.Limit < 1 {
		return CMKPage{}, &InvalidError{Field: "limit", Rule: "must be at least 1"}
	}
	if _, err := parseUUID(string(q.After)); q.After != "" && err != nil {
		return CMKPage{}, ErrUnknownCursor
	}
	m, _, err := o.ops.store.CMKMap(ctx, o.Environment())
	if err != nil {
		return CMKPage{}, err
	}
	page := CMKPage{Data: []CMK{}}
	for _, c := range m.CMKs {
		if c.ID <= q.After {
			continue
		}
		if len(page.Data) == min(q.Limit, maxPage) {
			page.After = page.Data[len(page.Data)-1].ID
			break
		}
		page.Data = append(page.Data, c)
	}
	return page, nil
}
