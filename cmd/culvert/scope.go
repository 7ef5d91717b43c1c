package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// scope is one as the API answers it.
type scope struct {
	Context      map[string]string `json:"context"`
	NamePrefix   string            `json:"name_prefix"`
	Connector    string            `json:"connector"`
	Organization string            `json:"organization_id"`
	NotBefore    *time.Time        `json:"not_before"`
	NotAfter     *time.Time        `json:"not_after"`
}

// String is a scope in one line.
func (s *scope) String() string {
	var parts []string
	if len(s.Context) > 0 {
		parts = append(parts, contextText(s.Context))
	}
	for _, part := range []struct{ what, value string }{
		{"name begins with ", s.NamePrefix}, {"connector ", s.Connector}, {"organization ", s.Organization},
	} {
		if part.value != "" {
			parts = append(parts, part.what+part.value)
		}
	}
	for _, part := range []struct {
		what string
		at   *time.Time
	}{{"from ", s.NotBefore}, {"until ", s.NotAfter}} {
		if part.at != nil {
			parts = append(parts, part.what+part.at.Format(time.RFC3339))
		}
	}
	return strings.Join(parts, ", ")
}

// scopeFlags are the flags of a scope.
type scopeFlags struct {
	items                           []string
	prefix, connector, organization string
	notBefore, notAfter             string
}

func (f *scopeFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.items, "context", nil, "only records whose key context has this item, `name=value`; may be repeated")
	flags.StringVar(&f.prefix, "name-prefix", "", "only objects whose names begin with this `text`")
	flags.StringVar(&f.connector, "connector", "", "only what belongs to this connector, a `slug`")
	flags.StringVar(&f.organization, "organization", "", "only what is of this `organization`")
	flags.StringVar(&f.notBefore, "not-before", "", "from this `time` on, as RFC 3339 writes it")
	flags.StringVar(&f.notAfter, "not-after", "", "until this `time`, as RFC 3339 writes it")
}

// body is the scope as the API is asked with it; empty if no flag was given.
func (f *scopeFlags) body() (map[string]any, error) {
	body := map[string]any{}
	items, err := parseItems(f.items)
	if err != nil {
		return nil, err
	}
	if len(items) > 0 {
		body["context"] = items
	}
	for member, value := range map[string]string{
		"name_prefix": f.prefix, "connector": f.connector, "organization_id": f.organization, "not_before": f.notBefore, "not_after": f.notAfter,
	} {
		if value != "" {
			body[member] = value
		}
	}
	return body, nil
}

// parseItems reads context items as they are typed.
func parseItems(texts []string) (map[string]string, error) {
	items := map[string]string{}
	for _, text := range texts {
		name, value, err := parseItem(text)
		if err != nil {
			return nil, err
		}
		if _, twice := items[name]; twice {
			return nil, hinted(usage("the context item %s is given twice", name), "a key context has each item once")
		}
		items[name] = value
	}
	return items, nil
}
