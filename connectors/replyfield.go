package connectors

import (
	"maps"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// ReplyField is what a provider says besides the token and callers need with it, such as the host of a
// customer's API.
type ReplyField struct {
	// Name is what callers know it by.
	Name string
	// From is where the provider says it, [FromToken] if empty. Path leads to it there (see [Identity]), and is
	// the Name if empty.
	From ReplySource
	Path string
	// Pattern is what the whole value must match, written ^(?:…)$.
	Pattern string
	// Domains make the value an https URL, or the name of a host: at one of these domains, or below one.
	Domains []string
}

// ReplySource is which of a provider's answers has a field.
type ReplySource string

// The sources. What a callback says came through the browser: its user can say there what he likes, so that
// whoever relies on it asks the provider first.
const (
	FromToken    ReplySource = "token"
	FromIdentity ReplySource = "identity"
	FromCallback ReplySource = "callback"
)

// maxReplyFieldBytes bounds the value of a field.
const maxReplyFieldBytes = 1024

// mistake is the rule that a field breaks in itself, "" for none.
func (f *ReplyField) mistake() string {
	pattern, err := regexp.Compile(f.Pattern)
	switch {
	case f.Name == "" || err != nil || !strings.HasPrefix(f.Pattern, "^(?:") || !strings.HasSuffix(f.Pattern, ")$"):
		return "needs a name, and a pattern that is written ^(?:…)$"
	case f.From != "" && f.From != FromToken && f.From != FromIdentity && f.From != FromCallback:
		return "is from no answer that there is"
	case len(f.Domains) == 0 && (pattern.MatchString("https://host.example") || pattern.MatchString("host.example")):
		return "takes any host, so it needs domains"
	}
	return ""
}

// replyFieldsRule is the rule that the connector's fields of replies break, "" for none.
func (c *Connector) replyFieldsRule() string {
	for i := range c.Metadata {
		f := &c.Metadata[i]
		if rule := f.mistake(); rule != "" {
			return rule
		}
		if f.From == FromIdentity && (!c.CanIdentify() || len(c.Identity.TokenID) > 0 && len(c.Identity.TokenName) > 0) {
			return "is from an identity call, which is not made"
		}
	}
	return ""
}

// metadata reads the connector's fields of one source. A value that breaks its field's rules is left out.
//
// Attacker: who answers in the provider's place, or writes the callback, and names a host of his own, to which
// callers would then send their tokens (evil.example, acme.provider.example.evil.example, x@evil.example).
// Defence: the value matches a declared pattern, and its host is the provider's by the last labels of its name.
func (c *Connector) metadata(from ReplySource, at func(path string) string) map[string]string {
	var found map[string]string
	for i := range c.Metadata {
		f := &c.Metadata[i]
		if f.source() != from {
			continue
		}
		path := f.Path
		if path == "" {
			path = f.Name
		}
		value := at(path)
		if !f.takes(value) {
			continue
		}
		if found == nil {
			found = map[string]string{}
		}
		found[f.Name] = value
	}
	return found
}

func (f *ReplyField) source() ReplySource {
	if f.From == "" {
		return FromToken
	}
	return f.From
}

func (f *ReplyField) takes(value string) bool {
	pattern, err := regexp.Compile(f.Pattern)
	if err != nil || value == "" || len(value) > maxReplyFieldBytes || !visible(value) || !pattern.MatchString(value) {
		return false
	}
	return len(f.Domains) == 0 || f.ofProvider(value)
}

// ofProvider tells a host of the provider's, alone or in an https URL that has nothing else but a path.
func (f *ReplyField) ofProvider(value string) bool {
	host, _, _ := strings.Cut(strings.TrimPrefix(value, "https://"), "/")
	return hostIn(host, f.Domains) && !strings.ContainsAny(value, `?#@\% `) && !strings.Contains(value, "..")
}

// metadata reads the fields of a token reply.
func (r Reply) metadata() map[string]string {
	return r.conn.metadata(FromToken, func(path string) string {
		first, rest, _ := strings.Cut(path, ".")
		return lookup(r.member(first), rest)
	})
}

// metadataOf reads the fields of the answer of an identity call.
func (c *Connector) metadataOf(answer jsontext.Value) map[string]string {
	return c.metadata(FromIdentity, func(path string) string { return lookup(answer, path) })
}

// With is the same with more of the fields, which count where both say something.
func (i Identified) With(more map[string]string) Identified {
	if len(more) == 0 {
		return i
	}
	all := maps.Clone(i.Metadata)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, more)
	i.Metadata = all
	return i
}
