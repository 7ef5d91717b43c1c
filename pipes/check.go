package pipes

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"culvert/internal/id"
	"culvert/internal/text"
	"culvert/keys"
)

// Limits of what callers may send. Lengths of texts are Unicode code points, those of secrets bytes.
const (
	// MaxID bounds user and organization ids, which are the caller's own.
	MaxID = 255
	// MaxLabel bounds user_label, names and descriptions.
	MaxLabel = 500
	// MaxScopes, MaxScope and MaxScopesBytes bound a list of scopes, each of them, and all together:
	// what happens to a grant writes the scopes of each of its accounts twice, with the event, in one
	// transaction.
	MaxScopes      = 200
	MaxScope       = 500
	MaxScopesBytes = 32 << 10
	// MaxToken bounds an imported token, an authorization code and a client secret.
	MaxToken = 64 << 10
)

// organizationItem is the item of the key context that an organization's grants stand in.
const organizationItem = "organization_id"

// maxSlug bounds a slug in bytes.
const maxSlug = 63

// isSlug accepts what can be a slug: a-z, 0-9 and, behind the first, dashes. It stands in URLs and in keys of the store.
func isSlug(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxSlug
}

func required(field string) *InvalidError {
	return &InvalidError{Field: field, Code: CodeRequired, Rule: "is required"}
}

func invalid(field, rule string) *InvalidError {
	return &InvalidError{Field: field, Code: CodeInvalid, Rule: rule}
}

// malformed is a parameter of a list's query.
func malformed(field, rule string) *InvalidError {
	return &InvalidError{Field: field, Code: CodeQuery, Rule: rule, Malformed: true}
}

// malformedBody is a part of a body that the contract answers with 400.
func malformedBody(field, code, rule string) *InvalidError {
	return &InvalidError{Field: field, Code: code, Rule: rule, Malformed: true}
}

// gather makes one error of what is wrong with the parts of a request, so that its caller is told of all
// of it at once. An error of another kind counts if nothing was refused.
func gather(parts ...error) error {
	var refused *InvalidError
	var other error
	for _, err := range parts {
		var one *InvalidError
		switch {
		case err == nil:
		case !errors.As(err, &one):
			other = orElse(other, err)
		case refused == nil:
			first := *one
			refused = &first
		default:
			refused.Others = append(append(refused.Others, one), one.Others...)
		}
	}
	if refused != nil {
		return refused
	}
	return other
}

// checkID accepts a caller's own id of a user or organization.
func checkID(field, value string) error {
	if value == "" {
		return required(field)
	}
	return checkText(field, value, MaxID)
}

func checkText(field, value string, most int) error {
	if utf8.RuneCountInString(value) > most || text.Unprintable(value) {
		return invalid(field, fmt.Sprintf("must be UTF-8 of at most %d characters, without control characters", most))
	}
	return nil
}

func checkScopes(field string, scopes []string) error {
	if len(scopes) > MaxScopes {
		return invalid(field, fmt.Sprintf("must be at most %d scopes", MaxScopes))
	}
	size := 0
	for _, scope := range scopes {
		if scope == "" || len(scope) > MaxScope || !visible(scope) {
			return invalid(field, "must be scopes without spaces and control characters")
		}
		size += len(scope)
	}
	if size > MaxScopesBytes {
		return invalid(field, "must be at most 32 KiB together")
	}
	return nil
}

// visible accepts printable ASCII without the space: RFC 6749 section 3.3 has no other characters in a
// scope, and a space would make two of one.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Request names whose accounts a call is about.
type Request struct {
	Slug string
	// UserID and OrganizationID are the caller's own ids. ConnectionOwner is [OwnedByUser] if empty.
	UserID, OrganizationID string
	ConnectionOwner        Ownership
	// AccountID chooses one of several accounts; empty means the only one, or the compatibility slot.
	AccountID AccountID
	// Plural tells that the caller knows of several connections (supports_multiple_connections).
	Plural bool
	// TokenName is which of several tokens to vend, by the provider's name; empty for the one that accounts of
	// one token have.
	TokenName string
	// RevokeAtProvider is for [Broker.DeleteAccount] alone: whether the provider is told, too. nil stands
	// for what the integration says.
	RevokeAtProvider *bool
}

// owner checks a request and is whose accounts it asks for. An organization's needs no user, except
// where one acts.
func (r *Request) owner() (Owner, error) {
	user, organization := checkText("user_id", r.UserID, MaxID), checkText("organization_id", r.OrganizationID, MaxID)
	switch r.ConnectionOwner {
	case "", OwnedByUser:
		w := Owner{Kind: OwnedByUser, User: r.UserID, Organization: r.OrganizationID}
		return w, gather(checkID("user_id", r.UserID), organization)
	case OwnedByOrganization:
		w := Owner{Kind: OwnedByOrganization, Organization: r.OrganizationID}
		return w, gather(user, checkID("organization_id", r.OrganizationID))
	}
	return Owner{}, gather(user, organization, invalid("connection_owner", `must be "user" or "organization"`))
}

// checkActing refuses a call that does not say which user acts for somebody else: that is a user, whosever the
// account is.
func (r *Request) checkActing() error {
	if r.UserID == "" && r.ConnectionOwner != "" && r.ConnectionOwner != OwnedByUser {
		return required("user_id")
	}
	return nil
}

// checkAccountID refuses a malformed selector before anything is looked up.
func (r *Request) checkAccountID() error {
	if r.AccountID != "" && !r.AccountID.WellFormed() {
		return malformedBody("connected_account_id", CodeInvalid, "must be the id of a connected account")
	}
	return nil
}

// Prefixes of ids on the wire.
const (
	integrationPrefix = "data_integration_"
	accountPrefix     = "data_installation_"
	dikPrefix         = "dik_"
	grantPrefix       = "grant_"
)

func wellFormed(prefix, value string) bool {
	return len(value) > len(prefix) && value[:len(prefix)] == prefix && id.IsULID(value[len(prefix):])
}

// keyContext is that of an owner's grants.
func (w Owner) keyContext() (keys.Context, error) {
	return organizationContext(w.Organization)
}
