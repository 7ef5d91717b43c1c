package access

// Bound is where records lie: those that have these items in their key context and a name that begins so.
type Bound struct {
	Items      map[string]string
	NamePrefix string
}

// Bounds tells a list where to look: what the permit allows lies within one of them, beside what it does not. nil
// is anywhere, and none is nowhere. Whoever finds a record there still asks [Permit.Allows].
func (p Permit) Bounds() []Bound {
	if p.settled || p.actor.policy == nil {
		return nil
	}
	bounds := []Bound{}
	for i := range p.actor.policy.rules {
		rule := &p.actor.policy.rules[i]
		if rule.Effect != Allow || !rule.about(p.action) {
			continue
		}
		r := over(rule.Scope, p.at, p.at)
		possible := true
		for j := range p.actor.policy.scopes {
			possible = possible && r.within(&p.actor.policy.scopes[j]) != never
			r.narrow(&p.actor.policy.scopes[j])
		}
		if !possible {
			continue
		}
		if len(r.items) == 0 && r.name == "" {
			return nil
		}
		bounds = append(bounds, Bound{Items: r.items, NamePrefix: r.name})
	}
	return bounds
}
