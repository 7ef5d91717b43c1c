package keys_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/keys"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// useCase is one exported method of Operations, called in a way that succeeds for an administrator.
type useCase struct {
	action access.Action
	call   func(ctx context.Context, ops *keys.Operations, call access.Call) (result any, err error)
}

// useCases lists every exported method of Operations by name. kek is a living KEK, job one that waits, c a
// customer, and cmk a CMK that is another's.
func useCases(kek keys.ID, job keys.JobID, c *customer, cmk keys.CMKID) map[string]useCase {
	return map[string]useCase{
		"KEKs": {access.KEKRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.KEKs(ctx, call, keys.KEKQuery{Limit: 10})
		}},
		"KEK": {access.KEKRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.KEK(ctx, call, kek)
		}},
		"RotateKEK": {access.KEKRotate, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.RotateKEK(ctx, call, kek)
		}},
		"CreateJob": {access.JobCreate, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.CreateJob(ctx, call, keys.JobRequest{Kind: keys.RewrapJob, All: true})
		}},
		"Jobs": {access.JobRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.Jobs(ctx, call, keys.JobQuery{Limit: 10})
		}},
		"Job": {access.JobRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.Job(ctx, call, job)
		}},
		"AttachCMK": {access.CMKAttach, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.AttachCMK(ctx, call, keys.AttachRequest{Item: c.item(), Key: c.arn, DryRun: true})
		}},
		"DetachCMK": {access.CMKDetach, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.DetachCMK(ctx, call, keys.DetachRequest{ID: cmk})
		}},
		"VerifyCMK": {access.CMKVerify, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.VerifyCMK(ctx, call, cmk)
		}},
		"CMK": {access.CMKRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.CMK(ctx, call, cmk)
		}},
		"CMKs": {access.CMKRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.CMKs(ctx, call, keys.CMKQuery{Limit: 10})
		}},
		"Schedule": {access.ScheduleRead, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.Schedule(ctx, call)
		}},
		"SetSchedule": {access.ScheduleManage, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.SetSchedule(ctx, call, keys.ScheduleRequest{OlderThan: quarter, Rewrap: true})
		}},
		"RemoveSchedule": {access.ScheduleManage, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return struct{}{}, ops.RemoveSchedule(ctx, call)
		}},
		"ResumeJob": {access.JobCreate, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.ResumeJob(ctx, call, job)
		}},
		"CancelJob": {access.JobCancel, func(ctx context.Context, ops *keys.Operations, call access.Call) (any, error) {
			return ops.CancelJob(ctx, call, job)
		}},
	}
}

// eachUseCase runs a subtest for every exported method of Operations, each with a KEK of its own. A
// method that is missing from the list fails the test.
func eachUseCase(t *testing.T, s *vaulttest.Stack, all []*customer, run func(t *testing.T, u useCase)) {
	t.Helper()
	cmk := all[1].mustAttached(t, s)
	methods := reflect.TypeFor[*keys.Operations]()
	for i := range methods.NumMethod() {
		method := methods.Method(i).Name
		t.Run(method, func(t *testing.T) {
			m, err := s.Vault.Create(t.Context(), s.Call(), vault.CreateRequest{
				Name: t.Name(), Value: vaulttest.Value("v"), Context: vaulttest.MustContext(t, "method", t.Name()),
			})
			must(t, err)
			mustSchedule(t, s, keys.ScheduleRequest{OlderThan: quarter})
			u, ok := useCases(m.KeyID, s.MustJob(t, keys.JobRequest{Kind: keys.RewrapJob, All: true}).ID, all[0], cmk)[method]
			if !ok {
				t.Fatal("this method has no entry in useCases: add one")
			}
			run(t, u)
		})
	}
}

// Every exported method begins with the permit: who has no rights gets a denial, one record of it, and
// nothing else, whatever is asked for.
func TestEveryOperationIsAuthorized(t *testing.T) {
	s, customers := newCustomers(t, "org_1", "org_2")
	guest := s.MustCallAs(t, "guest")
	eachUseCase(t, s, customers, func(t *testing.T, u useCase) {
		call := access.Call{Actor: guest.Actor, RequestID: "req_" + t.Name()}
		result, err := u.call(t.Context(), s.Operations, call)
		if !errors.Is(err, access.ErrDenied) {
			t.Errorf("got %v, want ErrDenied", err)
		}
		if v := reflect.ValueOf(result); !v.IsZero() {
			t.Errorf("a denied call answered %v", result)
		}
		records := s.MustAuditOf(t, call.RequestID)
		if len(records) != 1 || records[0].Phase != audit.Access || records[0].Result != audit.Denied ||
			records[0].Action != u.action || records[0].Code != "forbidden" || records[0].KeyID != "" {
			t.Errorf("audit records of a denial: %+v", records)
		}
		// Who may everything elsewhere may nothing of a whole environment, and sees no KEK.
		result, err = u.call(t.Context(), s.Operations, s.MustCallWithin(t, access.Scope{Organization: "elsewhere"}))
		if page, ok := result.(keys.KEKPage); !errors.Is(err, access.ErrDenied) && (!ok || err != nil || len(page.Data) > 0 || page.After != "") {
			t.Errorf("out of scope: %v, %v", result, err)
		}
		if _, err := u.call(t.Context(), s.Operations, s.Call()); err != nil {
			t.Errorf("an administrator's call: %v", err)
		}
	})
}

// Without an audit log nothing is told and nothing is changed.
func TestEveryOperationNeedsTheAuditLog(t *testing.T) {
	s, customers := newCustomers(t, "org_1", "org_2")
	eachUseCase(t, s, customers, func(t *testing.T, u useCase) {
		broken := s.Replica(t)
		must(t, broken.Audit.Close())
		before := len(s.MustEvents(t))
		result, err := u.call(t.Context(), broken.Operations, broken.Call())
		if down := outage.Of(err); down == nil || down.Dependency != outage.Audit {
			t.Errorf("got %v, want an outage of the audit log", err)
		}
		if v := reflect.ValueOf(result); !v.IsZero() {
			t.Error("the call answered something without its audit record")
		}
		if after := len(s.MustEvents(t)); after != before {
			t.Errorf("%d events were written without an audit record", after-before)
		}
		if _, err := u.call(t.Context(), s.Operations, s.Call()); err != nil {
			t.Errorf("the twin with an audit log: %v", err)
		}
	})
}
