package keys_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"culvert/internal/audit"
	"culvert/internal/events"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// customer is somebody with a key in the AWS KMS, whose policy lets Culvert use it for what is theirs alone.
type customer struct {
	kms *keystest.AWS
	arn string
	org string
}

// newCustomers is a stack on which customers' keys are used, and customers of it.
func newCustomers(t testing.TB, orgs ...string) (*vaulttest.Stack, []*customer) {
	t.Helper()
	keystest.SetAWSCredentials(t)
	kms := keystest.NewAWS(t)
	pool, err := awskms.NewPool(awskms.PoolConfig{Endpoint: kms.Endpoint()})
	must(t, err)
	var all []*customer
	for _, org := range orgs {
		c := &customer{kms, kms.NewKey(t, "444455556666"), org}
		kms.Policy(c.arn, func(_ string, encryptionContext map[string]string) bool {
			return encryptionContext["organization_id"] == org
		})
		all = append(all, c)
	}
	return vaulttest.WithConfig(t, vaulttest.Config{CMKs: pool}), all
}

func (c *customer) item() keys.Item { return keys.Item{Name: "organization_id", Value: c.org} }
func (c *customer) uri() string     { return "awskms:" + c.arn }

// mustAttach attaches the customer's key and waits for the end.
func (c *customer) mustAttach(t testing.TB, s *vaulttest.Stack) keys.CMK {
	t.Helper()
	job := c.mustBegin(t, s)
	if ended := s.MustEndJob(t, job.ID); ended.State != keys.JobSucceeded {
		t.Fatalf("attaching ended as %+v", ended)
	}
	return mustCMK(t, s, job.CMK, keys.CMKAttached)
}

// mustAttached is that on a stack without a runner.
func (c *customer) mustAttached(t testing.TB, s *vaulttest.Stack) keys.CMKID {
	t.Helper()
	r := s.MustRunner(t)
	defer r.Close()
	return c.mustAttach(t, s).ID
}

func (c *customer) mustBegin(t testing.TB, s *vaulttest.Stack) keys.Job {
	t.Helper()
	job, err := s.Operations.AttachCMK(t.Context(), s.Call(), keys.AttachRequest{Item: c.item(), Key: c.arn})
	must(t, err)
	return job
}

func mustCMK(t testing.TB, s *vaulttest.Stack, id keys.CMKID, state keys.CMKState) keys.CMK {
	t.Helper()
	found, err := s.Operations.CMK(t.Context(), s.Call(), id)
	must(t, err)
	if found.State != state {
		t.Fatalf("the CMK is %s, want %s", found.State, state)
	}
	return found
}

// mustBeUnder wants every living KEK of the customer to be under the customer's key, or none.
func (c *customer) mustBeUnder(t testing.TB, s *vaulttest.Stack, want bool) (n int) {
	t.Helper()
	for after := keys.ID(""); ; {
		page, err := s.Operations.KEKs(t.Context(), s.Call(), keys.KEKQuery{Item: c.item(), Limit: 100, After: after})
		must(t, err)
		for _, i := range page.Data {
			if i.State != keys.KEKActive {
				continue
			}
			n++
			under := false
			for _, r := range i.RootKeys {
				under = under || r == keys.RootKeyRef{Slot: "organization_id=" + c.org, URI: c.uri()}
			}
			if under != want {
				t.Errorf("KEK %s is under %v", i.ID, i.RootKeys)
			}
		}
		if after = page.After; after == "" {
			return n
		}
	}
}

// isCMKRefused is the one clear error of a key that was taken back.
func isCMKRefused(err error) bool {
	return errors.Is(err, keys.ErrCMKRefused) && errors.Is(err, keys.ErrRefused) && outage.Of(err) == nil
}

func create(t testing.TB, s *vaulttest.Stack, pairs ...string) (vault.Metadata, error) {
	t.Helper()
	return s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
		Name: "created " + s.IDs.UUID(), Value: vaulttest.Value("v"), Context: vaulttest.MustContext(t, pairs...),
	})
}

// An attached key wraps a share of every KEK of its customer, those from before and those from after, and of
// nobody else's; detached, of none.
func TestAttachAndDetach(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one, other := all[0], s.Replica(t)
	stored := mustObjects(t, s, 3, "organization_id", "org_1")
	region := mustObjects(t, s, 2, "organization_id", "org_1", "region", "eu")
	others := mustObjects(t, s, 2, "organization_id", "org_2")
	before := time.Now()
	data, err := s.Vault.CreateDataKey(t.Context(), s.Call(), vaulttest.MustContext(t, "organization_id", "org_1"))
	must(t, err)

	dry, err := s.Operations.AttachCMK(t.Context(), s.Call(), keys.AttachRequest{Item: one.item(), Key: one.arn, DryRun: true})
	must(t, err)
	runner := s.MustRunner(t)
	if ended := s.MustEndJob(t, dry.ID); ended.State != keys.JobSucceeded || ended.Counts.Changed != 2 || ended.CMK != "" || !ended.BackupsBefore().IsZero() {
		t.Errorf("the dry run ended as %+v", ended)
	}
	runner.Close()
	job := one.mustBegin(t, s)
	// From the answer on, on every replica, and before the job has begun.
	fresh, err := create(t, other, "organization_id", "org_1", "n", "1")
	must(t, err)
	if n := one.kms.Calls("Encrypt"); n != 3 { // two trials and one share
		t.Errorf("%d calls of Encrypt, want 3", n)
	}
	other.MustRunner(t)
	ended := s.MustEndJob(t, job.ID)
	// Two KEKs, and the five objects under them.
	if ended.State != keys.JobSucceeded || ended.Counts.Changed != 7 || ended.Counts.Failed != 0 || ended.Counts.Done != ended.Counts.Total ||
		ended.BackupsBefore().Before(before) || ended.HistoryUntil.IsZero() {
		t.Errorf("the job ended as %+v", ended)
	}
	if n := one.mustBeUnder(t, s, true); n != 3 {
		t.Errorf("%d KEKs of the customer, want 3", n)
	}
	for _, o := range []map[vault.ObjectID]string{stored, region, others} {
		if stale := mustCountStale(t, other, o); stale != 0 {
			t.Errorf("%d versions are stale", stale)
		}
	}
	if again, err := other.Vault.DecryptDataKey(t.Context(), other.Call(), data.Blob); err != nil || !again.Key.Equal(data.Key) {
		t.Errorf("a data key from before: %v", err)
	}
	found := mustCMK(t, other, job.CMK, keys.CMKAttached)
	if found.Item != one.item() || found.KeyURI != one.uri() || found.AttachedAt.Before(before) {
		t.Errorf("the CMK: %+v", found)
	}
	info, err := s.Operations.KEK(t.Context(), s.Call(), kekOf(t, s, others))
	if err != nil || len(info.RootKeys) != 1 || info.Versions != 1 {
		t.Errorf("the KEK of another customer: %+v, %v", info, err)
	}
	// A rotation keeps the key.
	mustRotate(t, s, kekOf(t, s, stored))
	one.mustBeUnder(t, s, true)

	detached, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: job.CMK})
	must(t, err)
	if ended := s.MustEndJob(t, detached.ID); ended.State != keys.JobSucceeded || ended.Counts.Changed != 3 || !ended.BackupsBefore().IsZero() {
		t.Errorf("detaching ended as %+v", ended)
	}
	if n := one.mustBeUnder(t, s, false); n != 3 {
		t.Errorf("%d KEKs of the customer, want 3", n)
	}
	if _, err := s.Operations.CMK(t.Context(), s.Call(), job.CMK); !errors.Is(err, keys.ErrNoCMK) {
		t.Errorf("the CMK: %v, want %v", err, keys.ErrNoCMK)
	}
	one.kms.Disable(one.arn)
	cold := s.Replica(t)
	mustCountStale(t, cold, stored)
	cold.MustGet(t, fresh.ID)
	told := mustEventsOf(t, s, events.BYOKVerified, events.BYOKDeleted)
	if len(told) != 3 || told[2].Type != events.BYOKDeleted ||
		!strings.Contains(string(told[1].Data), `"organization_id":"org_1","key_provider":"AWS_KMS","verified":true`) {
		t.Errorf("events: %s", fmt.Sprint(told))
	}
}

// A customer who takes the key back cuts everything of theirs, and nobody else; who gives it back restores it.
func TestRevokedCMK(t *testing.T) {
	s, all := newCustomers(t, "org_1", "org_2")
	one, two := all[0], all[1]
	s.MustRunner(t)
	stored := mustObjects(t, s, 2, "organization_id", "org_1")
	warm := mustObjects(t, s, 2, "organization_id", "org_1", "region", "eu")
	others := mustObjects(t, s, 2, "organization_id", "org_2")
	nobodys := mustObjects(t, s, 2, "region", "eu")
	one.mustAttach(t, s)
	two.mustAttach(t, s)
	c := vaulttest.MustContext(t, "organization_id", "org_1")
	data, err := s.Vault.CreateDataKey(t.Context(), s.Call(), c)
	must(t, err)
	for _, o := range []map[vault.ObjectID]string{stored, warm, others, nobodys} {
		mustCountStale(t, s, o)
	}
	one.kms.Disable(one.arn)
	// Warm KEKs go on until the first refusal, which takes all of them.
	mustCountStale(t, s, warm)
	if _, err := create(t, s, "organization_id", "org_1", "n", "1"); !isCMKRefused(err) {
		t.Fatalf("create in a new context: %v", err)
	}
	ctx := t.Context()
	cut := func(r *vaulttest.Stack) {
		t.Helper()
		for _, o := range []map[vault.ObjectID]string{stored, warm} {
			for id := range o {
				_, get := r.Vault.Get(ctx, r.Call(), id)
				_, update := r.Vault.Update(ctx, r.Call(), vault.UpdateRequest{ID: id, Value: vaulttest.Value("x")})
				if !isCMKRefused(get) || !isCMKRefused(update) {
					t.Errorf("get: %v; update: %v", get, update)
				}
			}
		}
		_, decrypt := r.Vault.DecryptDataKey(ctx, r.Call(), data.Blob)
		_, dataKey := r.Vault.CreateDataKey(ctx, r.Call(), c)
		_, rotate := r.Operations.RotateKEK(ctx, r.Call(), kekOf(t, s, stored))
		for what, err := range map[string]error{"decrypt": decrypt, "data key": dataKey, "rotate": rotate} {
			if !isCMKRefused(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := create(t, r, "organization_id", "org_2", "n", r.IDs.UUID()); err != nil {
			t.Errorf("another customer's: %v", err)
		}
		mustCountStale(t, r, others)
		mustCountStale(t, r, nobodys)
	}
	before := one.kms.Calls("Decrypt")
	cut(s)
	if n := one.kms.Calls("Decrypt") - before; n > 40 {
		t.Errorf("%d calls of the KMS for what was known to be refused", n)
	}
	cold := s.Replica(t)
	cut(cold)

	one.kms.Enable(one.arn)
	for _, r := range []*vaulttest.Stack{s, cold} {
		mustBecome(t, func() error {
			for id := range stored {
				if _, err := r.Vault.Get(ctx, r.Call(), id); err != nil {
					return err
				}
			}
			return nil
		})
		mustCountStale(t, r, stored)
		mustCountStale(t, r, warm)
		if _, err := r.Vault.DecryptDataKey(ctx, r.Call(), data.Blob); err != nil {
			t.Errorf("decrypt once it was given back: %v", err)
		}
	}
}

// Whoever claims somebody else's key for an item of his own is refused, which takes nothing from its owner: neither
// a cached KEK nor calls of the KMS. What its owner is refused does.
func TestRefusedElsewhere(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	s.MustRunner(t)
	stored := mustObjects(t, s, 2, "organization_id", "org_1")
	c := one.mustAttach(t, s)
	mustCountStale(t, s, stored)
	before := one.kms.Calls("Decrypt")
	evil := keys.AttachRequest{Item: keys.Item{Name: "organization_id", Value: "org_evil"}, Key: one.arn}
	if _, err := s.Operations.AttachCMK(t.Context(), s.Call(), evil); !isCMKRefused(err) {
		t.Fatalf("somebody else's key: %v", err)
	}
	mustCountStale(t, s, stored)
	if n := one.kms.Calls("Decrypt") - before; n != 0 {
		t.Errorf("the owner's KEKs were unwrapped %d times again", n)
	}
	one.kms.Disable(one.arn)
	if _, err := s.Operations.VerifyCMK(t.Context(), s.Call(), c.ID); !isCMKRefused(err) {
		t.Fatalf("taken back: %v", err)
	}
	for id := range stored {
		if _, err := s.Vault.Get(t.Context(), s.Call(), id); !isCMKRefused(err) {
			t.Errorf("after the refusal: %v", err)
		}
	}
}

// mustBecome waits until something holds.
func mustBecome(t testing.TB, holds func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = holds(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// A KMS of a customer that does not answer is an outage of that customer alone.
func TestCMKOutOfReach(t *testing.T) {
	s, all := newCustomers(t, "org_1")
	one := all[0]
	s.MustRunner(t)
	stored := mustObjects(t, s, 1, "organization_id", "org_1")
	others := mustObjects(t, s, 1, "organization_id", "org_2")
	one.mustAttach(t, s)
	one.kms.Fail("", keystest.Fault{Code: "ValidationException", Status: 400}) // an outage that is not retried
	cold := s.Replica(t)
	for id := range stored {
		_, err := cold.Vault.Get(t.Context(), cold.Call(), id)
		if o := outage.Of(err); o == nil || o.Dependency != outage.CMK || errors.Is(err, keys.ErrRefused) {
			t.Errorf("get: %v, want an outage of the customer's key", err)
		}
	}
	mustCountStale(t, cold, others)
	if _, err := s.Operations.VerifyCMK(t.Context(), s.Call(), mustOnlyCMK(t, s).ID); outage.Of(err) == nil {
		t.Errorf("verify: %v, want an outage", err)
	}
	// What is about all does not wait for one.
	job := s.MustEndJob(t, s.MustJob(t, keys.JobRequest{Kind: keys.RotateJob, All: true}).ID)
	if job.State != keys.JobFailed || job.Reason != "incomplete" || job.Counts.Failed != 1 || job.Counts.Changed != 1 {
		t.Errorf("a rotation of all: %+v", job)
	}
	one.kms.Fail("", keystest.Fault{})
	for id := range stored {
		mustBecome(t, func() error {
			_, err := cold.Vault.Get(t.Context(), cold.Call(), id)
			return err
		})
	}
	mustCountStale(t, cold, stored)
	if _, err := s.Operations.VerifyCMK(t.Context(), s.Call(), mustOnlyCMK(t, s).ID); err != nil {
		t.Errorf("verify: %v", err)
	}
}

func mustOnlyCMK(t testing.TB, s *vaulttest.Stack) keys.CMK {
	t.Helper()
	page, err := s.Operations.CMKs(t.Context(), s.Call(), keys.CMKQuery{Limit: 10})
	must(t, err)
	if len(page.Data) != 1 || page.After != "" {
		t.Fatalf("%d CMKs", len(page.Data))
	}
	return page.Data[0]
}

// What cannot be a customer's key is not attached, and the answer says why in our words alone.
func TestRefusedAttachments(t *testing.T) {
	s, all := newCustomers(t, "org_1", "org_2")
	one, two := all[0], all[1]
	attach := func(r keys.AttachRequest) error {
		_, err := s.Operations.AttachCMK(t.Context(), s.Call(), r)
		return err
	}
	var invalid *keys.InvalidError
	for _, r := range []keys.AttachRequest{
		{Key: one.arn}, {Item: keys.Item{Value: "x"}, Key: one.arn}, {Item: keys.Item{Name: "a=b"}, Key: one.arn},
		{Item: keys.Item{Name: "a\x00"}, Key: one.arn}, {Item: keys.Item{Name: "culvert:env"}, Key: one.arn}, {Item: keys.Item{Name: "aws:x"}, Key: one.arn},
		{Item: one.item()}, {Item: one.item(), Key: "/etc/passwd"}, {Item: one.item(), Key: "local:nothing"}, {Item: one.item(), Key: s.Root.URI()},
		{Item: one.item(), Key: one.kms.Alias("mine", one.arn)}, {Item: one.item(), Key: one.arn, Rate: -1}, {Item: one.item(), Key: one.arn, Rate: keys.MaxRate + 1},
	} {
		if err := attach(r); !errors.As(err, &invalid) {
			t.Errorf("%+v: %v, want an InvalidError", r, err)
		}
	}
	refused := func(what, reason string, r keys.AttachRequest) {
		t.Helper()
		var failed *keys.CMKError
		if err := attach(r); !isCMKRefused(err) || !errors.As(err, &failed) || failed.Reason != reason || strings.Contains(err.Error(), "plaintext") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("another customer's key", "AccessDeniedException", keys.AttachRequest{Item: one.item(), Key: two.arn})
	refused("a key that is not there", "NotFoundException", keys.AttachRequest{Item: one.item(), Key: one.arn + "0"})
	one.kms.Disable(one.arn)
	refused("a disabled key", "DisabledException", keys.AttachRequest{Item: one.item(), Key: one.arn})
	one.kms.Enable(one.arn)
	if told := mustEventsOf(t, s, events.BYOKVerified, events.JobCreated); len(told) != 3 || !strings.Contains(string(told[2].Data), `"verified":false`) {
		t.Errorf("events of three refusals: %v", told)
	}
	if page, err := s.Operations.CMKs(t.Context(), s.Call(), keys.CMKQuery{Limit: 10}); err != nil || len(page.Data) != 0 {
		t.Errorf("the list: %+v, %v", page, err)
	}
	if _, err := create(t, s, "organization_id", "org_1"); err != nil {
		t.Errorf("the item has no CMK, and yet: %v", err)
	}

	// One that is attached, and its job has not ended.
	job := one.mustBegin(t, s)
	if err := attach(keys.AttachRequest{Item: one.item(), Key: one.arn}); !errors.Is(err, keys.ErrCMKBusy) {
		t.Errorf("once more: %v, want %v", err, keys.ErrCMKBusy)
	}
	if err := attach(keys.AttachRequest{Item: one.item(), Key: two.arn}); !errors.Is(err, keys.ErrCMKExists) {
		t.Errorf("another key: %v, want %v", err, keys.ErrCMKExists)
	}
	if _, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: job.CMK}); !errors.Is(err, keys.ErrCMKBusy) {
		t.Errorf("detach: %v, want %v", err, keys.ErrCMKBusy)
	}
	for _, unknown := range []keys.CMKID{"", "x", keys.CMKID(s.IDs.UUID())} {
		if _, err := s.Operations.DetachCMK(t.Context(), s.Call(), keys.DetachRequest{ID: unknown}); !errors.Is(err, keys.ErrNoCMK) {
			t.Errorf("detach %q: %v, want %v", unknown, err, keys.ErrNoCMK)
		}
	}
	if _, err := s.Operations.CreateJob(t.Context(), s.Call(), keys.JobRequest{Kind: keys.AttachJob, Scope: keys.Scope{Item: one.item()}}); !errors.As(err, &invalid) {
		t.Errorf("as a job: %v, want an InvalidError", err)
	}
	s.MustRunner(t)
	s.MustEndJob(t, job.ID)
	if err := attach(keys.AttachRequest{Item: one.item(), Key: one.arn}); !errors.Is(err, keys.ErrCMKExists) {
		t.Errorf("once more, later: %v, want %v", err, keys.ErrCMKExists)
	}
	two.mustAttach(t, s)
}

// The trail names the customer's key once it is known to be one.
func TestTrailOfCMKs(t *testing.T) {
	s, all := newCustomers(t, "org_1", "org_2")
	one, two := all[0], all[1]
	attach := func(arn string) []audit.Record {
		t.Helper()
		call := s.Call()
		if _, err := s.Operations.AttachCMK(t.Context(), call, keys.AttachRequest{Item: one.item(), Key: arn}); err != nil && !isCMKRefused(err) {
			t.Fatal(err)
		}
		return s.MustAuditOf(t, call.RequestID)
	}
	for _, row := range []struct {
		key    *customer
		named  string
		result audit.Result
		code   string
		status int
	}{{two, "", audit.Failed, "cmk_refused", 403}, {one, one.uri(), audit.Allowed, "", 201}} {
		records := attach(row.key.arn)
		if len(records) != 2 || records[0].Phase != audit.Intent || records[0].KeyID != "" || records[0].KeyContext["organization_id"] != "org_1" ||
			records[1].Phase != audit.Outcome || records[1].Result != row.result || records[1].Code != row.code || records[1].Status != row.status || records[1].KeyID != row.named {
			t.Errorf("audit records: %+v", records)
		}
	}
}

// As many CMKs as an environment may have, and no more; all of them are listed.
func TestTooManyCMKs(t *testing.T) {
	s, all := newCustomers(t, "org_1", "org_2")
	m := keys.CMKMap{}
	for i := range keys.MaxCMKs - 1 {
		m.CMKs = append(m.CMKs, keys.CMK{
			ID: keys.CMKID(s.IDs.UUID()), Item: keys.Item{Name: "n", Value: fmt.Sprint(i)}, KeyURI: all[0].uri(), State: keys.CMKAttached, CreatedAt: time.Now().UTC(),
		})
	}
	_, err := s.Store.ChangeCMKs(t.Context(), keys.CMKChange{
		Map: &m, Job: &keys.Job{ID: keys.JobID(s.IDs.UUID()), Environment: s.Environment.ID(), Kind: keys.AttachJob, State: keys.JobSucceeded},
	})
	must(t, err)
	all[0].mustBegin(t, s)
	if _, err := s.Operations.AttachCMK(t.Context(), s.Call(), keys.AttachRequest{Item: all[1].item(), Key: all[1].arn}); !errors.Is(err, keys.ErrTooManyCMKs) {
		t.Errorf("one too many: %v, want %v", err, keys.ErrTooManyCMKs)
	}
	seen := map[keys.CMKID]bool{}
	for q := (keys.CMKQuery{Limit: 1000}); ; {
		page, err := s.Operations.CMKs(t.Context(), s.Call(), q)
		must(t, err)
		for _, c := range page.Data {
			seen[c.ID] = true
		}
		if q.After = page.After; q.After == "" {
			break
		}
		if len(page.Data) != 100 {
			t.Errorf("a page of %d", len(page.Data))
		}
	}
	if len(seen) != keys.MaxCMKs {
		t.Errorf("%d CMKs are listed, want %d", len(seen), keys.MaxCMKs)
	}
	if _, err := s.Operations.CMKs(t.Context(), s.Call(), keys.CMKQuery{Limit: 1, After: "x"}); !errors.Is(err, keys.ErrUnknownCursor) {
		t.Errorf("a cursor that is none: %v", err)
	}
}
