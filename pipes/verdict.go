package pipes

import (
	"errors"

	"culvert/internal/access"
	"culvert/internal/trail"
	"culvert/keys"
)

// conflicted reports that a transaction found another state than it was made for: read again.
func conflicted(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, keys.ErrConflict)
}

// judge is what an audit record says of how a call ended. Its codes are those of the answers, which
// server/errors.go makes.
func judge(action access.Action, err error) trail.Verdict {
	if err == nil {
		return trail.Allow(successStatus(action))
	}
	if v, ok := judgeKnown(err); ok {
		return v
	}
	return trail.Known(err)
}

// successStatus is the status of a success, where an action has only one. Creating, changing and
// removing are one action with three, and a browser is shown pages and sent on: 0 says nothing.
func successStatus(action access.Action) int {
	switch action {
	case access.IntegrationsRead, access.AccountsRead, access.AttemptsRead, access.TokenVend, access.TokenReport, access.PipesAuthorize, access.PipesFinish:
		return 200
	}
	return 0
}

func judgeKnown(err error) (trail.Verdict, bool) {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		if invalid.Malformed {
			return trail.Fail(invalid.Code, 400), true
		}
		return trail.Fail(invalid.Code, 422), true
	}
	for _, known := range []struct {
		err    error
		code   string
		status int
	}{
		{ErrNoIntegration, "entity_not_found", 404},
		{ErrNoAccount, "entity_not_found", 404},
		{ErrNoAuthorization, "authorization_not_found", 404},
		{ErrVerifier, CodeVerifier, 422},
		{ErrBadClient, "invalid_client_credentials", 422},
		{ErrRefused, "provider_refused", 422},
		{ErrTooManyConnections, CodeTooManyConnections, 422},
		{ErrNoRevocation, "entity_not_found", 404},
		{ErrIntegrationExists, "integration_exists", 409},
		{ErrAccountExists, "account_exists", 409},
		{ErrTokenInUse, "refresh_token_in_use", 409},
		{ErrAccountSelection, "account_selection_required", 409},
		{ErrEndpointChanged, "endpoint_changed", 409},
		{ErrDisabled, "integration_disabled", 400},
		{ErrUnknownCursor, "invalid_cursor", 400},
		{ErrAuthMethod, "auth_method_mismatch", 422},
		{ErrTooLarge, "record_too_large", 422},
		{ErrReturnTo, "return_to_not_allowed", 422},
		{ErrNotConfigured, "client_credentials_not_configured", 422},
		{ErrClientRejected, "client_rejected", 503},
		{ErrProvider, "provider_unavailable", 503},
		{ErrTicket, "ticket_not_usable", 410},
		{ErrOtherBrowser, "other_browser", 403},
		{ErrFlowRate, "rate_limit_exceeded", 429},
		{ErrConflict, "concurrent_request", 503},
		{keys.ErrConflict, "concurrent_request", 503},
		{keys.ErrTampered, "integrity_failure", 500},
		{keys.ErrShredded, "key_shredded", 403},
		{keys.ErrShredding, "shred_in_progress", 409},
		{keys.ErrCMKRefused, "cmk_refused", 403}, // before ErrRefused, which it is too
		{keys.ErrRefused, "root_key_refused", 403},
		{keys.ErrCreateRate, "rate_limit_exceeded", 429},
	} {
		if errors.Is(err, known.err) {
			return trail.Fail(known.code, known.status), true
		}
	}
	return trail.Verdict{}, false
}
