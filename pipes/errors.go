package pipes

import (
	"errors"
	"time"
)

// Sentinels of this package; server/errors.go maps them to statuses.
var (
	// ErrNotFound means that no such record exists; use cases return the ones below instead.
	ErrNotFound = errors.New("pipes: not found")
	// ErrConflict means that a record changed between read and write; internal to retry loops, and the
	// answer (503 concurrent_request) when their bound is reached.
	ErrConflict = errors.New("pipes: record changed meanwhile")
	// ErrNoIntegration means that the environment has no integration with this slug (404).
	ErrNoIntegration = errors.New("pipes: integration not found")
	// ErrIntegrationExists means that the slug has an integration of this ownership already (409).
	ErrIntegrationExists = errors.New("pipes: integration exists")
	// ErrDisabled means that the integration is not enabled (400 integration_disabled).
	ErrDisabled = errors.New("pipes: integration disabled")
	// ErrNoAccount means that the owner has no such connected account (404).
	ErrNoAccount = errors.New("pipes: connected account not found")
	// ErrNoRevocation means that no account of this id was disconnected with its tokens to be revoked, or
	// too long ago (404).
	ErrNoRevocation = errors.New("pipes: revocation not found")
	// ErrAccountExists means that the owner is connected already (409).
	ErrAccountExists = errors.New("pipes: connected account exists")
	// ErrAuthMethod means that the endpoint is for accounts that are connected by another method (422).
	ErrAuthMethod = errors.New("pipes: auth method mismatch")
	// ErrBadClient means that the provider does not know a client that an account is to be connected with, or
	// refuses its secret (422 invalid_client_credentials).
	ErrBadClient = errors.New("pipes: client credentials not accepted by the provider")
	// ErrRefused means that the provider refuses a token to such a client for another reason (422
	// provider_refused).
	ErrRefused = errors.New("pipes: provider refuses a token")
	// ErrTooManyConnections means that the owner has [MaxConnections] accounts there (422
	// too_many_connections).
	ErrTooManyConnections = errors.New("pipes: too many connections")
	// ErrEndpointChanged means that the token endpoint is not the one a grant or client secret is bound
	// to: nothing is sent there before an administrator has confirmed it (409 endpoint_changed).
	ErrEndpointChanged = errors.New("pipes: token endpoint changed")
	// ErrNoAuthorization means that a result id is unknown, forged, used up or expired (404
	// authorization_not_found): one error for all.
	ErrNoAuthorization = errors.New("pipes: authorization not found")
	// ErrVerifier means that a code verifier is not that of the flow's challenge (422
	// code_verifier_mismatch).
	ErrVerifier = errors.New("pipes: code verifier mismatch")
	// ErrProvider means that the provider did not give a token now; the account is as it was (503).
	ErrProvider = errors.New("pipes: provider unavailable")
	// ErrClientRejected means that the provider refuses the integration's client credentials (503): no
	// account is to blame, and none is touched.
	ErrClientRejected = errors.New("pipes: provider rejects the client credentials")
	// ErrTicket means that a ticket or flow state is unknown, forged, used up or expired: a readable
	// page, the same for all.
	ErrTicket = errors.New("pipes: ticket or flow state not usable")
	// ErrOtherBrowser means that a callback came in a browser that did not start the flow.
	ErrOtherBrowser = errors.New("pipes: not the browser that started the flow")
	// ErrFlowRate means that the browsers of one flow come too often (429): a page, and no record.
	ErrFlowRate = errors.New("pipes: flow used too often")
	// ErrReturnTo means that return_to is on no allowed origin (422).
	ErrReturnTo = errors.New("pipes: return_to not allowed")
	// ErrNotConfigured means that the integration has no client credentials to act with (422
	// client_credentials_not_configured).
	ErrNotConfigured = errors.New("pipes: client credentials not configured")
	// ErrTokenInUse means that another account has this refresh token: one refresh token is one grant
	// (409 refresh_token_in_use).
	ErrTokenInUse = errors.New("pipes: refresh token in use by another account")
	// ErrAccountSelection means that the owner has several accounts and none was named (409
	// account_selection_required).
	ErrAccountSelection = errors.New("pipes: account selection required")
	// ErrTooLarge means that what is to be stored is larger than the store takes (422 record_too_large):
	// mostly long lists of scopes of accounts that share a grant.
	ErrTooLarge = errors.New("pipes: record too large")
	// ErrUnknownCursor means that a cursor is none that the list gave out (400).
	ErrUnknownCursor = errors.New("pipes: unknown cursor")
)

// InvalidError is a refused value. Field is the wire's; Code is machine-readable; Rule says what is
// allowed and never repeats what was sent.
type InvalidError struct {
	Field, Code, Rule string
	// Malformed is answered with 400: part of a query, or what the contract says so of. All others are 422.
	Malformed bool
	// Others are further refused values of the same request, in order; they have no others themselves.
	Others []*InvalidError
}

func (e *InvalidError) Error() string { return "pipes: " + e.Field + " " + e.Rule }

// Codes of [InvalidError].
const (
	CodeRequired         = "required"
	CodeInvalid          = "invalid_value"
	CodeQuery            = "invalid_query"
	CodeTokenCombination = "invalid_token_combination"
)

// AuthMethodError is a call that is for accounts of another method. It wraps [ErrAuthMethod].
type AuthMethodError struct {
	// Uses is the account's method; empty if it is the integration that does not take Wanted.
	Uses AuthMethod
	// Wanted is the method that the call would have connected by; empty for one that vends tokens of OAuth.
	Wanted AuthMethod
}

func (e *AuthMethodError) Error() string { return ErrAuthMethod.Error() }

func (e *AuthMethodError) Unwrap() error { return ErrAuthMethod }

// ProviderError is a token that cannot be had now, although nothing is wrong with the account. It wraps
// [ErrProvider] or [ErrClientRejected].
type ProviderError struct {
	Slug string
	// RetryAfter is when the broker will ask the provider again, at the earliest.
	RetryAfter time.Duration
	Err        error
}

func (e *ProviderError) Error() string { return e.Err.Error() + ": " + e.Slug }

func (e *ProviderError) Unwrap() error { return e.Err }

// RateError is a leg of a flow that came too soon. It wraps [ErrFlowRate].
type RateError struct {
	// RetryAfter is when the next one may come.
	RetryAfter time.Duration
}

func (e *RateError) Error() string { return ErrFlowRate.Error() }

func (e *RateError) Unwrap() error { return ErrFlowRate }
