package pipes

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"culvert/connectors"
	"culvert/internal/events"
	"culvert/internal/secret"
	"culvert/keys"
)

// NamedToken is what is decided on of a further token of a grant, such as the user's beside the bot's. It is
// refreshed by itself, as the grant's next generation: all of a grant's tokens stand under one seal. Of which
// generation each one is stands beside it, so that what is known of it outlives the refreshes of the others.
type NamedToken struct {
	ObtainedAt time.Time `cbor:"1,keyasint"`
	// ExpiresAt is zero for a token that does not end.
	ExpiresAt   time.Time `cbor:"2,keyasint,omitzero"`
	Refreshable bool      `cbor:"3,keyasint,omitempty"`
	// Dead is set once the provider has said so of this token alone, for Reason.
	Dead   bool   `cbor:"4,keyasint,omitempty"`
	Reason string `cbor:"5,keyasint,omitempty"`
	// Since is the generation that gave this token; 0: the present one.
	Since uint64 `cbor:"6,keyasint,omitempty"`
	// Doubted is as of [Grant].
	Doubted bool `cbor:"7,keyasint,omitempty"`
}

// refreshNames begins the names under which the refresh tokens of a reply's further tokens are kept:
// beside the tokens, and never vended.
const refreshNames = "refresh/"

// CodeTokenName is the code of a name that no token of the account has.
const CodeTokenName = "unknown_token_name"

// namesOf is what a reply says of its tokens by their names: main is that of the one that is vended without.
func namesOf(t connectors.Tokens, at time.Time) (main string, named map[string]NamedToken) {
	for _, name := range slices.Sorted(maps.Keys(t.Named)) {
		if main == "" && t.Named[name].Equal(t.Access) {
			main = name
			continue
		}
		if named == nil {
			named = map[string]NamedToken{}
		}
		named[name] = NamedToken{ObtainedAt: at, ExpiresAt: t.NamedExpiresAt[name], Refreshable: t.NamedRefresh[name].Len() > 0}
	}
	return main, named
}

// tokenNames are all of them, in order; nil for a grant of one token.
func tokenNames(main string, named map[string]NamedToken) []string {
	names := slices.Collect(maps.Keys(named))
	if main != "" {
		names = append(names, main)
	}
	slices.Sort(names)
	return names
}

// token is a name that a caller asked for as this package has it: empty for the main one.
func (g *Grant) token(name string) (string, error) {
	if _, known := g.Named[name]; known {
		return name, nil
	}
	if name == "" || name == g.Main {
		return "", nil
	}
	rule := "must be left out: the account has one token, without a name"
	if names := tokenNames(g.Main, g.Named); len(names) > 0 {
		rule = "must be one of " + strings.Join(names, ", ")
	}
	return "", &InvalidError{Field: "token_name", Code: CodeTokenName, Rule: rule}
}

// as is the grant as if this token were the main one, for what is decided on times.
func (g *Grant) as(name string) *Grant {
	if name == "" {
		return g
	}
	n, as := g.Named[name], *g
	as.ObtainedAt, as.ExpiresAt, as.Refreshable, as.RefreshExpiresAt = n.ObtainedAt, n.ExpiresAt, n.Refreshable, time.Time{}
	return &as
}

// tokens are the names of a grant's tokens, the main one's empty.
func (g *Grant) tokens() []string { return append(slices.Collect(maps.Keys(g.Named)), "") }

// since is the generation that gave one of the tokens.
func (g *Grant) since(name string) uint64 {
	at := g.Since
	if name != "" {
		at = g.Named[name].Since
	}
	if at == 0 {
		return g.Generation
	}
	return at
}

// keeps reports that one of the tokens is the one that it was at a generation: whatever moved the grant since
// was a refresh of the others.
func (g *Grant) keeps(name string, generation uint64) bool {
	return g.since(name) <= generation && generation <= g.Generation
}

// keepsAny reports that one of the tokens is the one that it was at a generation.
func (g *Grant) keepsAny(generation uint64) bool {
	return slices.ContainsFunc(g.tokens(), func(name string) bool { return g.keeps(name, generation) })
}

// advance gives the grant its next generation, for a refresh of one of its tokens. The others note that theirs
// is an older one.
func (g *Grant) advance(name string) {
	if len(g.Named) == 0 {
		g.Generation++
		return
	}
	named := maps.Clone(g.Named)
	for other, n := range named {
		n.Since = g.since(other)
		named[other] = n
	}
	g.Since, g.Named = g.since(""), named
	g.Generation++
	if name == "" {
		g.Since = g.Generation
		return
	}
	n := named[name]
	n.Since = g.Generation
	named[name] = n
}

// over is what a grant has once a refresh has landed in it. Where others of its tokens were refreshed since that
// one began, theirs are the newer ones.
func (r *refreshing) over(ctx context.Context, g *Grant, l *landing) (keys.GrantTokens, error) {
	next := l.tokens
	next.Renewed = ""
	if g.Generation == l.generation {
		return next, nil
	}
	newer, err := r.openGrant(ctx, g)
	if err != nil {
		return keys.GrantTokens{}, err
	}
	next.Named = map[string]secret.Bytes{}
	maps.Copy(next.Named, l.tokens.Named)
	for _, name := range g.tokens() {
		if g.since(name) <= l.generation {
			continue
		}
		if name == "" {
			next.Access, next.Refresh, next.Previous = newer.Access, newer.Refresh, newer.Previous
			name = g.Main
		}
		for _, kept := range []string{name, refreshNames + name} {
			if token, there := newer.Named[kept]; there {
				next.Named[kept] = token
			}
		}
	}
	return next, nil
}

// dead reports that one of the tokens was judged; doubted is [Standing.doubts] of when it was stored.
func (g *Grant) dead(name string) bool {
	if name == "" {
		return g.Dead
	}
	return g.Named[name].Dead
}

func (g *Grant) doubted(name string) bool {
	if name == "" {
		return g.Doubted
	}
	return g.Named[name].Doubted
}

// renew notes the times of the token that was refreshed, and whether it is doubted.
func (g *Grant) renew(l *landing, doubted bool) {
	g.tell(l.metadata)
	if l.tokens.Renewed == "" {
		g.ObtainedAt, g.ExpiresAt, g.Dead, g.Reason = l.obtainedAt, l.expiresAt, false, ""
		g.Doubted = doubted
		if !l.refreshExpiresAt.IsZero() {
			g.RefreshExpiresAt = l.refreshExpiresAt
		}
		return
	}
	named := maps.Clone(g.Named)
	if named == nil {
		named = map[string]NamedToken{}
	}
	named[l.tokens.Renewed] = NamedToken{
		ObtainedAt: l.obtainedAt, ExpiresAt: l.expiresAt, Refreshable: l.tokens.Named[refreshNames+l.tokens.Renewed].Len() > 0,
		Since: g.Generation, Doubted: doubted,
	}
	g.Named = named
}

// partial reports a reply that is about one of several tokens: its scopes are not the account's.
func (g *Grant) partial(t connectors.Tokens, name string) bool {
	return name != "" || len(g.Named) > 0 && len(t.Named) <= len(g.Named)
}

// refreshToken is the one of the token that is refreshed.
func (r *refreshing) refreshToken(t keys.GrantTokens) secret.Bytes {
	if r.name != "" {
		return t.Named[refreshNames+r.name]
	}
	return t.Refresh
}

// merged is what a grant has after a refresh: a named token's reply changes that one alone.
func (r *refreshing) merged(t connectors.Tokens, before keys.GrantTokens) keys.GrantTokens {
	if r.name == "" {
		next := grantTokens(t, before)
		next.Previous = before.Previous
		if !next.Refresh.Equal(before.Refresh) {
			next.Previous = before.Refresh
		}
		return next
	}
	next := before
	next.Named = maps.Clone(before.Named)
	next.Named[r.name], next.Named[refreshNames+r.name], next.Renewed = t.Access, t.Refresh, r.name
	return next
}

// grantTokens is what is sealed of a provider's reply. A refresh renews what it has; names that the
// reply lacks keep the token they had.
func grantTokens(t connectors.Tokens, before keys.GrantTokens) keys.GrantTokens {
	g := keys.GrantTokens{Access: t.Access, Refresh: t.Refresh, Named: map[string]secret.Bytes{}, Config: before.Config}
	maps.Copy(g.Named, before.Named)
	maps.Copy(g.Named, t.Named)
	for name, token := range t.NamedRefresh {
		g.Named[refreshNames+name] = token
	}
	if len(g.Named) == 0 {
		g.Named = nil
	}
	return g
}

// roomOf is what a grant's tokens may take in the journal, the refreshed ones twice their size.
func roomOf(t keys.GrantTokens) int {
	n := 2*(t.Access.Len()+t.Refresh.Len()) + t.Previous.Len()
	for name, token := range t.Named {
		n += len(name) + 2*token.Len()
	}
	return n
}

// fits refuses tokens of which a refresh would leave more than the journal takes: the refresh token counts twice,
// because the one before is kept, too.
func fits(t keys.GrantTokens) error {
	n := t.Access.Len() + 2*t.Refresh.Len()
	for name, token := range t.Named {
		n += len(name) + token.Len()
	}
	if t.Refresh.Len() > 0 && n > maxTokens {
		return ErrTooLarge
	}
	return nil
}

// buryNamed marks one of several tokens dead. The account goes on with the others, so its state stays.
func (r *refreshing) buryNamed(change *Change, g *Grant, reason string) error {
	named := maps.Clone(g.Named)
	n := named[r.name]
	n.Dead, n.Reason = true, reason
	named[r.name], g.Named = n, named
	e, err := r.cause().aboutAccount(events.AccountUpdated, r.account, r.broker.now())
	change.Events = append(change.Events, e)
	return err
}
