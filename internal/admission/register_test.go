package admission_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/audit"
	"culvert/vault/vaulttest"
)

// useCase is one exported method of Register that takes a call, made so that it succeeds for an administrator.
type useCase struct {
	action access.Action
	call   func(ctx context.Context, r *admission.Register, call access.Call) (any, error)
}

// readers is a role that reads.
func readers(name access.Role) admission.RoleRequest {
	return admission.RoleRequest{Name: name, Rules: []access.Rule{{Effect: access.Allow, Actions: []access.Action{access.DataRead}}}}
}

// useCases lists them by name, for a key and a role that are there.
func useCases(keyID string, role access.Role) map[string]useCase {
	return map[string]useCase{
		"Create": {access.APIKeyCreate, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Create(ctx, call, admission.CreateRequest{Name: "n", Role: access.RoleReader})
		}},
		"Keys": {access.APIKeyRead, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Keys(ctx, call, admission.Query{Limit: 10})
		}},
		"Key": {access.APIKeyRead, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Key(ctx, call, keyID)
		}},
		"Rotate": {access.APIKeyRotate, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Rotate(ctx, call, admission.RotateRequest{ID: keyID})
		}},
		"Expire": {access.APIKeyExpire, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Expire(ctx, call, admission.ExpireRequest{ID: keyID})
		}},
		"Revoke": {access.APIKeyRevoke, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return nil, r.Revoke(ctx, call, admission.RevokeRequest{ID: keyID})
		}},
		"Validate": {access.APIKeyValidate, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Validate(ctx, call, access.APIKey{})
		}},
		"Roles": {access.RoleRead, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Roles(ctx, call)
		}},
		"Role": {access.RoleRead, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Role(ctx, call, role)
		}},
		"CreateRole": {access.RoleCreate, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.CreateRole(ctx, call, readers(role+"-2"))
		}},
		"ReplaceRole": {access.RoleUpdate, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.ReplaceRole(ctx, call, readers(role))
		}},
		"DeleteRole": {access.RoleDelete, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return nil, r.DeleteRole(ctx, call, role)
		}},
		"Explain": {access.AccessExplain, func(ctx context.Context, r *admission.Register, call access.Call) (any, error) {
			return r.Explain(ctx, call, admission.Question{Action: access.DataRead})
		}},
	}
}

// Every exported method begins with the permit. Who has no rights gets a denial, one record of it, and nothing
// else; who may everything of another organization sees and changes nothing of the environment.
func TestEveryMethodIsAuthorized(t *testing.T) {
	s := vaulttest.New(t)
	methods := reflect.TypeFor[*admission.Register]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		if name == "Close" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			made, err := s.Register.Create(t.Context(), s.Call(), admission.CreateRequest{Name: "subject", Role: access.RoleReader})
			must(t, err)
			role := access.Role("role-" + string('a'+rune(i)))
			must(t, errOf(s.Register.CreateRole(t.Context(), s.Call(), readers(role))))
			u, ok := useCases(made.ID, role)[name]
			if !ok {
				t.Fatal("this method has no entry in useCases: add one")
			}
			before := s.MustEvents(t)
			guest := s.MustCallAs(t, "guest")
			result, err := u.call(t.Context(), s.Register, guest)
			if v := reflect.ValueOf(result); !errors.Is(err, access.ErrDenied) || v.IsValid() && !v.IsZero() {
				t.Errorf("got %v, %v, want ErrDenied", result, err)
			}
			records := s.MustAuditOf(t, guest.RequestID)
			if len(records) != 1 || records[0].Phase != audit.Access || records[0].Result != audit.Denied ||
				records[0].Action != u.action || records[0].ObjectID != "" || records[0].ObjectName != "" {
				t.Errorf("audit records of a denial: %+v", records)
			}
			result, err = u.call(t.Context(), s.Register, s.MustCallWithin(t, access.Scope{Organization: "elsewhere"}))
			page, isPage := result.(admission.Page)
			if !errors.Is(err, access.ErrDenied) && (!isPage || len(page.Data) > 0 || page.After != "") && name != "Validate" {
				t.Errorf("out of scope: %v, %v", result, err)
			}
			if len(s.MustEvents(t)) != len(before) {
				t.Error("a call that was denied changed something")
			}
			admin := s.Call()
			if _, err := u.call(t.Context(), s.Register, admin); err != nil {
				t.Errorf("an administrator's call: %v", err)
			}
			for _, r := range s.MustAuditOf(t, admin.RequestID) {
				if r.Result != audit.Allowed || r.Action != u.action {
					t.Errorf("record %+v", r)
				}
			}
		})
	}
}

// Nobody gives what they do not have: not with a new key, a rotation, a later end, or a role.
func TestNothingIsGivenThatIsNotHeld(t *testing.T) {
	s := vaulttest.New(t)
	ctx := t.Context()
	must(t, errOf(s.Register.CreateRole(ctx, s.Call(), admission.RoleRequest{Name: "keeper", Rules: []access.Rule{
		{Effect: access.Allow, Actions: []access.Action{
			access.DataRead, access.MetadataRead, access.NamesList, access.DEKDecrypt,
			access.APIKeyCreate, access.APIKeyRotate, access.APIKeyExpire, access.RoleCreate, access.RoleUpdate,
		}},
		{Effect: access.Deny, Actions: []access.Action{access.DataRead}, Scope: access.Scope{NamePrefix: "secret/"}},
	}})))
	keeper := s.MustCallAs(t, "keeper")
	admin, err := s.Register.Create(ctx, s.Call(), admission.CreateRequest{Name: "a", Role: access.RoleAdmin, Lifetime: admission.Lifetime{In: time.Hour}})
	must(t, err)
	held := access.Scope{NamePrefix: "public/"}
	for name, c := range map[string]struct {
		call func() error
		want error
	}{
		"admin":            {func() error { return create(t, s, keeper, access.RoleAdmin, access.Scope{}) }, admission.ErrExceeds},
		"its own role":     {func() error { return create(t, s, keeper, "keeper", access.Scope{}) }, nil},
		"a reader":         {func() error { return create(t, s, keeper, access.RoleReader, access.Scope{}) }, admission.ErrExceeds},
		"a reader of part": {func() error { return create(t, s, keeper, access.RoleReader, held) }, nil},
		"rotation of admin": {func() error {
			return errOf(s.Register.Rotate(ctx, keeper, admission.RotateRequest{ID: admin.ID}))
		}, admission.ErrExceeds},
		"later end of admin": {func() error {
			return errOf(s.Register.Expire(ctx, keeper, admission.ExpireRequest{ID: admin.ID, Never: true}))
		}, admission.ErrExceeds},
		"a role with more": {func() error {
			return errOf(s.Register.CreateRole(ctx, keeper, admission.RoleRequest{Name: "more", Rules: []access.Rule{{Effect: access.Allow, Actions: []access.Action{access.Every}}}}))
		}, admission.ErrExceeds},
		"its own role without the denial": {func() error {
			return errOf(s.Register.ReplaceRole(ctx, keeper, readers("keeper")))
		}, admission.ErrExceeds},
		"a role with a part": {func() error {
			q := readers("part")
			q.Rules[0].Scope = held
			return errOf(s.Register.CreateRole(ctx, keeper, q))
		}, nil},
	} {
		if err := c.call(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func create(t *testing.T, s *vaulttest.Stack, call access.Call, role access.Role, scope access.Scope) error {
	return errOf(s.Register.Create(t.Context(), call, admission.CreateRequest{Name: "n", Role: role, Scope: scope}))
}

// TestUses: the time of last use is written down behind the requests, without an event, and for no other key.
func TestUses(t *testing.T) {
	s := vaulttest.WithConfig(t, vaulttest.Config{UseInterval: 5 * time.Millisecond})
	used, err := s.Register.Create(t.Context(), s.Call(), admission.CreateRequest{Name: "used", Role: access.RoleReader})
	must(t, err)
	unused, err := s.Register.Create(t.Context(), s.Call(), admission.CreateRequest{Name: "unused", Role: access.RoleReader})
	must(t, err)
	before := len(s.MustEvents(t))
	key, err := access.ParseAPIKey(string(used.Text.Reveal()))
	must(t, err)
	began := time.Now().Add(-time.Minute)
	s.MustActor(t, key)
	eventually(t, "last use", func() bool {
		found, err := s.Register.Key(t.Context(), s.Call(), used.ID)
		must(t, err)
		return found.LastUsedAt.After(began) && !found.LastUsedAt.After(time.Now())
	})
	found, err := s.Register.Key(t.Context(), s.Call(), unused.ID)
	if err != nil || !found.LastUsedAt.IsZero() {
		t.Errorf("a key that nobody used: %v, %v", found.LastUsedAt, err)
	}
	if got := len(s.MustEvents(t)); got != before {
		t.Errorf("%d events of uses", got-before)
	}
}

// TestRoom: an environment has a bound, and what has ended makes room.
func TestRoom(t *testing.T) {
	s := vaulttest.New(t)
	r := s.MustRegister(t, func(c *admission.Config) { c.MaxKeys, c.MaxRoles = 3, 1 })
	create := func() (admission.NewKey, error) {
		return r.Create(t.Context(), s.Call(), admission.CreateRequest{Name: "n", Role: access.RoleReader})
	}
	first, err := create()
	must(t, err)
	must(t, errOf(create()))
	if _, err := create(); !errors.Is(err, admission.ErrTooManyKeys) {
		t.Errorf("above the bound: %v", err)
	}
	must(t, r.Revoke(t.Context(), s.Call(), admission.RevokeRequest{ID: first.ID}))
	must(t, errOf(create()))
	if _, err := r.Key(t.Context(), s.Call(), first.ID); !errors.Is(err, admission.ErrNoKey) {
		t.Errorf("the key that made room: %v", err)
	}
	must(t, errOf(r.CreateRole(t.Context(), s.Call(), readers("one"))))
	if _, err := r.CreateRole(t.Context(), s.Call(), readers("two")); !errors.Is(err, admission.ErrTooManyRoles) {
		t.Errorf("a role above the bound: %v", err)
	}
	if _, err := r.CreateRole(t.Context(), s.Call(), readers("one")); !errors.Is(err, admission.ErrRoleExists) {
		t.Errorf("a role twice: %v", err)
	}
}

// TestExplain: the reason is the one that the evaluator had, and the rule the one that decided.
func TestExplain(t *testing.T) {
	s := vaulttest.New(t)
	ctx := t.Context()
	must(t, errOf(s.Register.CreateRole(ctx, s.Call(), admission.RoleRequest{Name: "mixed", Rules: []access.Rule{
		{Effect: access.Allow, Actions: []access.Action{access.DataRead}, Scope: access.Scope{NamePrefix: "app/"}},
		{Effect: access.Deny, Actions: []access.Action{access.Every}, Scope: access.Scope{NamePrefix: "app/root"}},
		{Effect: access.Allow, Actions: []access.Action{access.JobRead}, Scope: access.Scope{Organization: "org_1"}},
	}})))
	key, err := s.Register.Create(ctx, s.Call(), admission.CreateRequest{Name: "k", Role: "mixed", Scope: access.Scope{Organization: "org_1"}})
	must(t, err)
	in := map[string]string{"organization_id": "org_1"}
	for name, c := range map[string]struct {
		action access.Action
		record access.Resource
		reason access.Reason
		number int
	}{
		"allowed":       {access.DataRead, access.Resource{Name: "app/x", Items: in}, access.ReasonAllowed, 1},
		"denied":        {access.DataRead, access.Resource{Name: "app/root/x", Items: in}, access.ReasonDenied, 2},
		"other name":    {access.DataRead, access.Resource{Name: "x", Items: in}, access.ReasonOutOfScope, 1},
		"other context": {access.DataRead, access.Resource{Name: "app/x"}, access.ReasonKeyScope, 0},
		"no rule":       {access.DataDelete, access.Resource{Name: "app/x", Items: in}, access.ReasonNoRule, 0},
		"whole":         {access.JobRead, access.Resource{}, access.ReasonWhole, 3},
	} {
		got, err := s.Register.Explain(ctx, s.Call(), admission.Question{KeyID: key.ID, Action: c.action, Record: c.record})
		if err != nil || got.Reason != c.reason || got.Number != c.number || got.Allowed != (c.reason == access.ReasonAllowed) || (got.Rule == nil) != (c.number == 0) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	must(t, s.Register.Revoke(ctx, s.Call(), admission.RevokeRequest{ID: key.ID}))
	got, err := s.Register.Explain(ctx, s.Call(), admission.Question{KeyID: key.ID, Action: access.DataRead, Record: access.Resource{Name: "app/x", Items: in}})
	if err != nil || got.Allowed || got.Reason != "key_revoked" {
		t.Errorf("revoked: %+v, %v", got, err)
	}
}
