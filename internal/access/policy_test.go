package access_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"culvert/internal/access"
)

// The evaluator against the simplest thing that can be said of it: a model that looks at single records of a small
// world and knows nothing of steps and regions.

// world is every record that the model looks at.
func world() []access.Resource {
	var all []access.Resource
	for _, organization := range []string{"", "a", "b"} {
		for _, team := range []string{"", "a", "b"} {
			items := map[string]string{}
			if organization != "" {
				items[access.OrganizationItem] = organization
			}
			if team != "" {
				items["team"] = team
			}
			for _, name := range []string{"", "x", "xy", "xyz", "z"} {
				for _, connector := range []string{"", "hub", "slack"} {
					all = append(all, access.Resource{Name: name, Items: items, Connector: connector})
				}
			}
		}
	}
	return all
}

// worldActions has actions of records and actions of a whole environment.
func worldActions() []access.Action {
	return []access.Action{access.DataRead, access.TokenVend, access.KEKShred, "never.heard.of"}
}

// modelHolds tells whether a record is in a scope.
func modelHolds(s access.Scope, r access.Resource, at time.Time) bool {
	for name, value := range s.Context {
		if found, ok := r.Items[name]; !ok || found != value {
			return false
		}
	}
	if s.Organization != "" && r.Items[access.OrganizationItem] != s.Organization {
		return false
	}
	if s.Connector != "" && r.Connector != s.Connector {
		return false
	}
	return strings.HasPrefix(r.Name, s.NamePrefix) && !at.Before(s.NotBefore) && (s.NotAfter.IsZero() || at.Before(s.NotAfter))
}

// modelAllows is what the rules mean for one record.
func modelAllows(k access.KeyRecord, rules []access.Rule, a access.Action, r access.Resource, at time.Time) bool {
	if !modelHolds(k.Scope, r, at) || !modelHolds(access.Scope{Organization: k.Organization}, r, at) {
		return false
	}
	allowed := slices.Contains(k.Permissions, string(a)) && access.IsAction(a)
	for _, rule := range rules {
		if !slices.Contains(rule.Actions, a) && !slices.Contains(rule.Actions, access.Every) || !modelHolds(rule.Scope, r, at) {
			continue
		}
		if rule.Effect == access.Deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func drawScope(rt *rapid.T, now time.Time) access.Scope {
	s := access.Scope{
		NamePrefix:   rapid.SampledFrom([]string{"", "", "x", "xy", "z"}).Draw(rt, "prefix"),
		Connector:    rapid.SampledFrom([]string{"", "", "hub", "slack"}).Draw(rt, "connector"),
		Organization: rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "organization"),
	}
	if team := rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "team"); team != "" {
		s.Context = map[string]string{"team": team}
	}
	hours := rapid.SampledFrom([]int{0, 0, 0, -1, 1})
	if n := hours.Draw(rt, "not before"); n != 0 {
		s.NotBefore = now.Add(time.Duration(n) * time.Hour)
	}
	if n := hours.Draw(rt, "not after"); n != 0 {
		s.NotAfter = now.Add(time.Duration(n) * 90 * time.Minute)
	}
	return s
}

func drawRules(rt *rapid.T, now time.Time) []access.Rule {
	return rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) access.Rule {
		return access.Rule{
			Effect:  rapid.SampledFrom([]access.Effect{access.Allow, access.Allow, access.Deny}).Draw(rt, "effect"),
			Actions: rapid.SliceOfNDistinct(rapid.SampledFrom(append(worldActions(), access.Every)), 1, 3, rapid.ID).Draw(rt, "actions"),
			Scope:   rapid.OneOf(rapid.Just(access.Scope{}), rapid.Custom(func(rt *rapid.T) access.Scope { return drawScope(rt, now) })).Draw(rt, "scope"),
		}
	}), 0, 4).Draw(rt, "rules")
}

func drawKey(rt *rapid.T, now time.Time) access.KeyRecord {
	k := access.KeyRecord{
		Role:         "drawn",
		Organization: rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "owner"),
		Permissions:  rapid.SampledFrom([][]string{nil, nil, {string(access.DataRead), "posts:read", "*"}}).Draw(rt, "permissions"),
	}
	if rapid.Bool().Draw(rt, "scoped") {
		k.Scope = drawScope(rt, now)
	}
	if rapid.Bool().Draw(rt, "ends") {
		k.ExpiresAt = now.Add(time.Hour)
	}
	return k
}

// liesWithin tells whether a list that keeps to the bounds finds a record.
func liesWithin(bounds []access.Bound, r access.Resource) bool {
	return bounds == nil || slices.ContainsFunc(bounds, func(b access.Bound) bool {
		return modelHolds(access.Scope{Context: b.Items, NamePrefix: b.NamePrefix}, r, time.Time{})
	})
}

func TestPolicyModel(t *testing.T) {
	h := newHouse(t)
	records := world()
	revision := int64(1)
	rapid.Check(t, func(rt *rapid.T) {
		k, rules := drawKey(rt, h.now), drawRules(rt, h.now)
		revision++
		h.between.role = &access.RoleRecord{Name: "drawn", Environment: h.APIKey.Environment, Rules: rules}
		h.between.answer = func(r access.KeyRecord, _ int64, err error, _ bool) (access.KeyRecord, int64, error) {
			r.Role, r.Organization, r.Permissions, r.Scope, r.ExpiresAt = k.Role, k.Organization, k.Permissions, k.Scope, k.ExpiresAt
			return r, revision, err
		}
		actor, err := h.gate.Authenticate(t.Context(), h.APIKey)
		if err != nil {
			rt.Fatal(err)
		}
		for _, a := range worldActions() {
			whole := a == access.KEKShred || a == "never.heard.of"
			permit, err := h.gate.Authorize(actor, a)
			for _, r := range records {
				want := modelAllows(k, rules, a, r, h.now)
				if err != nil && want && !whole || err == nil && !want && permit.Decided() {
					rt.Fatalf("%s on %v: the first step says %v (decided %v), the model %v", a, r, err, permit.Decided(), want)
				}
				if err == nil && whole && !permit.Decided() {
					rt.Fatalf("%s is about everything and was not decided", a)
				}
				if err != nil {
					continue
				}
				if _, err := permit.Complete(r); (err == nil) != want {
					rt.Fatalf("%s on %v: the second step says %v, the model %v", a, r, err, want)
				}
				if want && !liesWithin(permit.Bounds(), r) {
					rt.Fatalf("%s on %v is allowed, and no list would look there: %v", a, r, permit.Bounds())
				}
			}
		}
	})
}

// Whoever gives a key or a role gives nothing that they do not have.
func TestGivesModel(t *testing.T) {
	h := newHouse(t)
	records := world()
	revision, given := int64(1), 0
	rapid.Check(t, func(rt *rapid.T) {
		mine, myRules := drawKey(rt, h.now), drawRules(rt, h.now)
		theirs, theirRules := drawKey(rt, h.now), drawRules(rt, h.now)
		revision++
		h.between.role = &access.RoleRecord{Name: "drawn", Environment: h.APIKey.Environment, Rules: myRules}
		h.between.answer = func(r access.KeyRecord, _ int64, err error, _ bool) (access.KeyRecord, int64, error) {
			r.Role, r.Organization, r.Permissions, r.Scope = mine.Role, mine.Organization, mine.Permissions, mine.Scope
			return r, revision, err
		}
		actor, err := h.gate.Authenticate(t.Context(), h.APIKey)
		if err != nil {
			rt.Fatal(err)
		}
		permit, err := h.gate.Authorize(actor, access.DataRead)
		if err != nil || !permit.Gives(&theirs, theirRules, h.now) {
			return
		}
		given++
		for _, a := range worldActions() {
			for _, r := range records {
				for _, in := range []time.Duration{0, 30 * time.Minute, 80 * time.Minute, 100 * time.Hour} {
					at := h.now.Add(in)
					if !theirs.Usable(at) {
						continue
					}
					if modelAllows(theirs, theirRules, a, r, at) && !modelAllows(mine, myRules, a, r, at) {
						rt.Fatalf("%s on %v in %s is given and not held", a, r, in)
					}
				}
			}
		}
	})
	if given == 0 {
		t.Error("nothing was ever given: the test shows nothing")
	}
}

// The evaluator never refuses to give what is held for ever and everywhere, nor a part of it.
func TestGives(t *testing.T) {
	h := newHouse(t)
	admin := h.permit(t)
	reader, err := h.gate.Authorize(h.MustCallAs(t, access.RoleReader).Actor, access.DataRead)
	if err != nil {
		t.Fatal(err)
	}
	rulesOf := func(r access.Role) []access.Rule {
		rules, ok := access.BuiltIn(r)
		if !ok {
			t.Fatalf("no role %s", r)
		}
		return rules
	}
	for _, role := range access.Roles() {
		if !admin.Gives(&access.KeyRecord{Role: role}, rulesOf(role), h.now) {
			t.Errorf("admin does not give %s", role)
		}
		if got := reader.Gives(&access.KeyRecord{Role: role}, rulesOf(role), h.now); got != (role == access.RoleReader) {
			t.Errorf("reader gives %s: %v", role, got)
		}
	}
	if !reader.Gives(&access.KeyRecord{Organization: "a", Permissions: []string{string(access.DataRead), "posts:write"}}, nil, h.now) {
		t.Error("reader does not give a part of what it has")
	}
	if reader.Gives(&access.KeyRecord{Permissions: []string{string(access.DataDelete)}}, nil, h.now) {
		t.Error("reader gives a permission that it does not have")
	}
	// What is no action today may be one for whoever reads the record next year.
	later := &access.KeyRecord{Permissions: []string{string(access.DataRead), "vault.data.export"}}
	if reader.Gives(later, nil, h.now) || !admin.Gives(later, nil, h.now) {
		t.Error("reader gives what may become an action, or admin does not")
	}
}

// A changed role counts from the read fence on, also for a permit that was complete.
func TestRecheckOfRoles(t *testing.T) {
	h := newHouse(t)
	allow := func(actions ...access.Action) *access.RoleRecord {
		return &access.RoleRecord{Name: "mine", Environment: h.APIKey.Environment, Rules: []access.Rule{{Effect: access.Allow, Actions: actions}}}
	}
	h.edit(func(r *access.KeyRecord) { r.Role = "mine" })
	h.between.role = allow(access.DataRead)
	permit := h.permit(t)
	complete, err := permit.Complete(access.Resource{Name: "n", Context: "c", Items: map[string]string{"team": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []access.Permit{permit, complete} {
		if again, err := h.gate.Recheck(t.Context(), p); err != nil || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Errorf("unchanged: %v", err)
		}
	}
	h.between.roleRevision++
	h.between.role.Rules[0].Scope.Context = map[string]string{"team": "a"}
	if again, err := h.gate.Recheck(t.Context(), complete); err != nil || !again.Covers("c") {
		t.Errorf("a scope with the record in it: %v", err)
	}
	h.between.roleRevision++
	h.between.role.Rules[0].Scope.Context = map[string]string{"team": "b"}
	if _, err := h.gate.Recheck(t.Context(), complete); err != access.ErrDenied {
		t.Errorf("a scope without the record: %v", err)
	}
	if again, err := h.gate.Recheck(t.Context(), permit); err != nil || again.Decided() {
		t.Errorf("incomplete, a scope: %v", err)
	}
	h.between.roleRevision++
	h.between.role = allow(access.DataDelete)
	if _, err := h.gate.Recheck(t.Context(), permit); err != access.ErrDenied {
		t.Errorf("taken away: %v", err)
	}
	h.between.role.Name = "another"
	h.between.roleRevision++
	if _, err := h.gate.Recheck(t.Context(), permit); err != access.ErrDenied || h.reports["role/mine"] == nil {
		t.Errorf("a record of another role: %v, reported %v", err, h.reports)
	}
}
