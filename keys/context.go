package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"culvert/internal/text"
)

// Limits of a key context (contract section 1.4). Lengths are Unicode code points.
const (
	MaxContextItems = 10
	MaxContextName  = 120
	MaxContextValue = 500
)

// reservedPrefix begins the names that Culvert itself puts into a KMS encryption context.
const reservedPrefix = "culvert:"

// Context is a key context: the name/value pairs that select a KEK. Items are compared as the
// caller's bytes: nothing is normalised, so "organizationId" and "organization_id" are two contexts
// (contract section 1.2). It is immutable; the zero value is the empty context, which is legal.
type Context struct {
	items     map[string]string
	canonical string
}

// ContextError is a refused key context (422). It says which rule was broken, and never repeats
// what was sent.
type ContextError struct{ Rule string }

func (e *ContextError) Error() string { return "keys: key context: " + e.Rule }

// ParseContext checks the items against the limits and takes a copy. The error is a [*ContextError].
func ParseContext(items map[string]string) (Context, error) {
	if len(items) > MaxContextItems {
		return Context{}, &ContextError{fmt.Sprintf("at most %d items", MaxContextItems)}
	}
	for name, value := range items {
		if err := checkItem(name, value); err != nil {
			return Context{}, err
		}
	}
	return newContext(maps.Clone(items)), nil
}

// newContext is for items that are known to be valid: parsed, or read from a record whose seal held.
func newContext(items map[string]string) Context {
	names := slices.Sorted(maps.Keys(items))
	var b strings.Builder
	for _, name := range names {
		for _, field := range []string{name, items[name]} {
			var length [4]byte
			binary.BigEndian.PutUint32(length[:], uint32(len(field)))
			b.Write(length[:])
			b.WriteString(field)
		}
	}
	return Context{items: items, canonical: b.String()}
}

// Items returns a copy of the pairs.
func (c Context) Items() map[string]string {
	if c.items == nil {
		return map[string]string{}
	}
	return maps.Clone(c.items)
}

// All yields the pairs in the order of the canonical form.
func (c Context) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		field := func(s string) (string, string) {
			end := 4 + binary.BigEndian.Uint32([]byte(s[:4]))
			return s[4:end], s[end:]
		}
		for rest := c.canonical; rest != ""; {
			var name, value string
			name, rest = field(rest)
			value, rest = field(rest)
			if !yield(name, value) {
				return
			}
		}
	}
}

// Canonical is the one byte form: pairs in byte order of their names, each field behind its length
// as four bytes big endian. Two contexts are the same if and only if their canonical forms are.
func (c Context) Canonical() string { return c.canonical }

// Equal compares canonical forms.
func (c Context) Equal(other Context) bool { return c.canonical == other.canonical }

func checkItem(name, value string) error {
	switch {
	case name == "":
		return &ContextError{"an item needs a name"}
	case utf8.RuneCountInString(name) > MaxContextName:
		return &ContextError{fmt.Sprintf("item names have at most %d characters", MaxContextName)}
	case utf8.RuneCountInString(value) > MaxContextValue:
		return &ContextError{fmt.Sprintf("item values have at most %d characters", MaxContextValue)}
	case strings.HasPrefix(name, reservedPrefix):
		return &ContextError{"item names beginning with \"culvert:\" are reserved"}
	case text.Unprintable(name) || text.Unprintable(value):
		return &ContextError{"control and bidirectional formatting characters are refused, and text must be UTF-8"}
	}
	return nil
}

// Item is one name/value pair of key contexts. The zero Item stands for all contexts, because an item has
// a name.
type Item struct {
	Name  string `cbor:"1,keyasint"`
	Value string `cbor:"2,keyasint"`
}

// check holds an item to the rules of key contexts.
func (i Item) check() error {
	if i == (Item{}) {
		return nil
	}
	var invalid *ContextError
	if err := checkItem(i.Name, i.Value); errors.As(err, &invalid) {
		return &InvalidError{Field: "context_name", Rule: "and context_value are no item of a key context: " + invalid.Rule}
	}
	return nil
}

// In reports whether a record's context has the item.
func (i Item) In(r *KEKRecord) bool {
	value, ok := r.Items[i.Name]
	return i == (Item{}) || ok && value == i.Value
}
