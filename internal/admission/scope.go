package admission

import (
	"errors"
	"fmt"
	"strings"

	"culvert/internal/access"
	"culvert/internal/text"
)

// Limits of a scope: those of a key context and of an object's name.
const (
	maxItems     = 10
	maxItemName  = 256
	maxItemValue = 1024
	maxPrefix    = 1024
)

// checkScope refuses a scope that nothing can be in. Prefixes and values are compared as bytes, and nothing in them
// stands for anything else.
func checkScope(field string, s *access.Scope) error {
	if len(s.Context) > maxItems {
		return invalid(field+".context", fmt.Sprintf("must have at most %d items", maxItems))
	}
	for name, value := range s.Context {
		if err := checkText(field+".context", name, maxItemName); err != nil {
			return err
		}
		if value != "" {
			if err := checkText(field+".context", value, maxItemValue); err != nil {
				return err
			}
		}
	}
	for _, each := range []struct {
		name, value string
		most        int
	}{
		{".name_prefix", s.NamePrefix, maxPrefix}, {".connector", s.Connector, 64}, {".organization_id", s.Organization, MaxID},
	} {
		if each.value == "" {
			continue
		}
		if err := checkText(field+each.name, each.value, each.most); err != nil {
			return err
		}
	}
	if found, ok := s.Context[access.OrganizationItem]; ok && s.Organization != "" && found != s.Organization {
		return invalid(field+".organization_id", "contradicts the item of this name in context")
	}
	if !s.NotBefore.IsZero() && !s.NotAfter.IsZero() && !s.NotBefore.Before(s.NotAfter) {
		return invalid(field+".not_after", "must lie behind not_before")
	}
	return nil
}

// maxRules bounds the rules of a role, and the actions of each.
const maxRules = 50

func checkRules(rules []access.Rule) error {
	if len(rules) == 0 || len(rules) > maxRules {
		return invalid("rules", fmt.Sprintf("must be at least one and at most %d", maxRules))
	}
	for i := range rules {
		if err := checkRule(&rules[i]); err != nil {
			var wrong *InvalidError
			if errors.As(err, &wrong) {
				return invalid(fmt.Sprintf("rules[%d].%s", i, wrong.Field), wrong.Rule)
			}
			return err
		}
	}
	return nil
}

func checkRule(r *access.Rule) error {
	if r.Effect != access.Allow && r.Effect != access.Deny {
		return invalid("effect", `must be "allow" or "deny"`)
	}
	if len(r.Actions) == 0 {
		return invalid("actions", `must name at least one; "*" is all of them`)
	}
	seen := map[access.Action]bool{}
	for _, a := range r.Actions {
		switch {
		case !access.IsAction(a):
			return invalid("actions", "must be names of actions as API.md has them, in full; there are no patterns")
		case seen[a]:
			return invalid("actions", "must not name anything twice")
		}
		seen[a] = true
	}
	return checkScope("scope", &r.Scope)
}

func checkDescription(d string) error {
	if len(d) > 1024 || text.Unprintable(strings.ReplaceAll(d, "\n", "")) {
		return invalid("description", "must be UTF-8 of at most 1024 bytes, without control characters")
	}
	return nil
}
