package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"culvert/internal/access"
	"culvert/internal/admission"
	"culvert/internal/environments"
	"culvert/internal/events"
	"culvert/internal/export"
	"culvert/internal/idempotency"
	"culvert/internal/outage"
	"culvert/internal/proof"
	"culvert/internal/stream"
	"culvert/internal/webhooks"
	"culvert/keys"
	"culvert/pipes"
	"culvert/vault"
)

// problem is an error as a client sees it. Its text is ours from the first letter: nothing of the
// request, and nothing a library said about the request, is in it.
type problem struct {
	status int
	code   string
	text   string
	// field is the refused part of the request, where there is one (422, and some of 400). A 422 without
	// a field has a code that says it all.
	field string
	// others are further refused values of the same body, in order. There are never many: a member is
	// refused once, and the members of every body are few.
	others []*problem
	// retry is when to come back; 0: no Retry-After.
	retry time.Duration
	// cause is for the log alone; nil where the client is at fault.
	cause error
}

func (p *problem) Error() string { return p.code }

// problem is the only mapping from errors to statuses. The audit trail of the use cases follows it: an
// auditor finds the code and the status that the caller was given.
func (s *Server) problem(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	// An outage wraps its cause, often a deadline: it is asked for before the sentinels.
	if o := outage.Of(err); o != nil {
		return unavailable(o)
	}
	var invalid *vault.InvalidError
	if errors.As(err, &invalid) {
		return refused("invalid_value", invalid.Field, invalid.Rule)
	}
	var operation *keys.InvalidError
	if errors.As(err, &operation) {
		return refused(keys.CodeInvalid, operation.Field, operation.Rule)
	}
	var key *admission.InvalidError
	if errors.As(err, &key) {
		return refused(admission.CodeInvalid, key.Field, key.Rule)
	}
	var environment *environments.InvalidError
	if errors.As(err, &environment) {
		return refused(environments.CodeInvalid, environment.Field, environment.Rule)
	}
	var query *events.InvalidError
	if errors.As(err, &query) {
		if query.Malformed {
			return malformedQuery(query.Field, query.Rule)
		}
		return refused(query.Code, query.Field, query.Rule)
	}
	var proven *proof.InvalidError
	if errors.As(err, &proven) {
		return refused(proof.CodeInvalid, proven.Field, proven.Rule)
	}
	var exported *export.InvalidError
	if errors.As(err, &exported) {
		return refused(export.CodeInvalid, exported.Field, exported.Rule)
	}
	var streamed *stream.InvalidError
	if errors.As(err, &streamed) {
		return refused(stream.CodeInvalid, streamed.Field, streamed.Rule)
	}
	var hook *webhooks.InvalidError
	if errors.As(err, &hook) {
		return refused(hook.Code, hook.Field, hook.Rule)
	}
	var value *pipes.InvalidError
	if errors.As(err, &value) {
		return invalidPipes(value)
	}
	for _, known := range s.sentinels {
		if errors.Is(err, known.err) {
			copied := known.problem
			var provider *pipes.ProviderError
			if errors.As(err, &provider) {
				copied.retry = max(provider.RetryAfter, time.Second)
				copied.text = theProvider + " " + provider.Slug + strings.TrimPrefix(copied.text, theProvider)
			}
			var customer *keys.CMKError
			if errors.As(err, &customer) && customer.Reason != "" {
				copied.text = strings.TrimSuffix(copied.text, ".") + " (" + customer.Reason + ")."
			}
			var method *pipes.AuthMethodError
			if errors.As(err, &method) {
				copied.text = otherMethod(method)
			}
			var rate *pipes.RateError
			if errors.As(err, &rate) {
				copied.retry = rate.RetryAfter
			}
			// Below 500 the client is at fault, and a line per mistake would drown the others. But for the root key:
			// that it refuses is for an operator to mend, who has to learn which key, and why.
			if copied.status >= http.StatusInternalServerError || known.err == keys.ErrRefused {
				copied.cause = err
			}
			return &copied
		}
	}
	return internalError(err)
}

// sentinel is an error value of another package and what it becomes.
type sentinel struct {
	err     error
	problem problem
}

// sentinels is a list and not a switch so that its codes can be documented and tested one by one.
func sentinels() []sentinel {
	const integrity = "A stored record failed its integrity check and was not used."
	return append(slices.Concat(pipesSentinels(), admissionSentinels(), environmentSentinels()), []sentinel{
		{proof.ErrRemoved, problem{status: 410, code: proof.CodeRemoved,
			text: "The record was removed by retention; checkpoints prove what is left, and an archived copy of its segment by what was recorded of it."}},
		{vault.ErrNotFound, problem{status: 404, code: "entity_not_found", text: "Object not found."}},
		// A key that was revoked between authentication and the read fence.
		{access.ErrUnauthenticated, *unauthorized()},
		{access.ErrDenied, problem{status: 403, code: "forbidden", text: "This API key is not allowed to do that."}},
		// The text is the contract's, letter for letter.
		{vault.ErrExists, problem{status: 409, code: "item_already_exists", text: "Item already exists"}},
		{vault.ErrVersion, problem{status: 409, code: "version_conflict",
			text: "version_check is not the current version; read the object again."}},
		{vault.ErrTooManyObjects, problem{status: 403, code: codeQuota,
			text: "The environment has as many objects as the setting limits.objects_per_environment allows; delete some, or have it raised."}},
		{vault.ErrTooManyBytes, problem{status: 403, code: codeQuota,
			text: "The values of the environment take as many bytes as the setting limits.bytes_per_environment allows; delete some, or have it raised."}},
		{vault.ErrIdempotency, problem{status: 409, code: "idempotency_error",
			text: "This Idempotency-Key was used with another body."}},
		{idempotency.ErrOtherBody, problem{status: 409, code: "idempotency_error",
			text: "This Idempotency-Key was used with another body."}},
		{idempotency.ErrRepeated, *busy()},
		{vault.ErrUnknownCursor, *unknownCursor()},
		{events.ErrUnknownCursor, *unknownCursor()},
		{export.ErrNone, problem{status: 404, code: export.CodeNone,
			text: "This node has no such export of the audit log. The node that made one keeps it, for a day."}},
		{export.ErrTooMany, problem{status: 409, code: export.CodeTooMany,
			text: "The environment has as many exports of the audit log as one may have; they end a day after they were made."}},
		{export.ErrNotReady, problem{status: 409, code: export.CodeNotReady, text: "The export of the audit log is not ready; GET /audit_logs/exports/{id} says when it is."}},
		{stream.ErrNoStream, problem{status: 404, code: stream.CodeNoStream, text: "This node has no such stream of the audit log."}},
		{webhooks.ErrNoEndpoint, problem{status: 404, code: "entity_not_found", text: "Webhook endpoint not found."}},
		{webhooks.ErrDuplicate, problem{status: 409, code: "duplicate_endpoint", text: "Another webhook endpoint of this environment has this URL."}},
		{webhooks.ErrTooMany, problem{status: 409, code: "too_many_endpoints",
			text: "The environment has as many webhook endpoints as one may have; delete one before another is made."}},
		// Not which rule: what a name leads to inside is nobody's business.
		{webhooks.ErrURL, problem{status: 422, code: "invalid_url",
			text: "endpoint_url must be an https URL, without user or fragment, that this server may connect to; see the setting webhooks.egress.allow."}},
		{vault.ErrSearchUnavailable, *refused("search_unavailable", "search",
			"is not available above the size of the list index")},
		// Retryable, and SDKs do so by themselves: nobody lost, too many wrote at once.
		{vault.ErrConflict, *busy()},
		{keys.ErrConflict, *busy()},
		// Not 404, which would deny what the list shows, and nothing that invites a retry.
		{keys.ErrShredded, problem{status: 403, code: "key_shredded",
			text: "The key of this key context was destroyed; what was under it cannot be read again."}},
		// The caller's customer has taken it back. Before ErrRefused, which it is too.
		{keys.ErrCMKRefused, problem{status: 403, code: "cmk_refused",
			text: "The customer's key that this key context needs refuses its use; nothing was changed."}},
		{keys.ErrNoCMK, problem{status: 404, code: "entity_not_found", text: "CMK not found."}},
		{keys.ErrCMKExists, problem{status: 409, code: "cmk_exists",
			text: "This context item has a customer's key; detach it before another one is attached."}},
		{keys.ErrCMKBusy, problem{status: 409, code: "cmk_busy",
			text: "A job that attaches or detaches this customer's key has not ended."}},
		{keys.ErrTooManyCMKs, problem{status: 409, code: "too_many_cmks",
			text: "The environment has as many customers' keys as one may have."}},
		{keys.ErrRefused, problem{status: 403, code: "root_key_refused",
			text: "A key that this key context needs is disabled or refuses its use."}},
		// The caller's choice of a context is in conflict with an operator's; it ends by itself.
		{keys.ErrShredding, problem{status: 409, code: "shred_in_progress",
			text: "A key context with one of these items is being shredded; try again later."}},
		{keys.ErrCreateRate, problem{status: 429, code: codeRate, retry: time.Second,
			text: "Too many new key contexts; known ones go on working."}},
		{keys.ErrNotOurs, *notOurs()},
		{keys.ErrNoKEK, problem{status: 404, code: "entity_not_found", text: "KEK not found."}},
		{keys.ErrUnknownCursor, *unknownCursor()},
		{keys.ErrNoJob, problem{status: 404, code: "entity_not_found", text: "Job not found."}},
		{keys.ErrNoSchedule, problem{status: 404, code: "entity_not_found", text: "The environment has no rotation schedule."}},
		{keys.ErrNotCancellable, problem{status: 409, code: "job_not_cancellable", text: "A shred cannot be cancelled."}},
		{keys.ErrJobEnded, problem{status: 409, code: "job_ended", text: "The job has ended; what it did stays done."}},
		{keys.ErrNotCancelled, problem{status: 409, code: "job_not_cancelled",
			text: "Only a job that was cancelled goes on, and none that was about a customer's key; for what is left, make a new one."}},
		{keys.ErrTooManyJobs, problem{status: 429, code: "too_many_jobs", retry: time.Minute,
			text: "As many jobs wait and run as an environment may have."}},
		{keys.ErrVersions, problem{status: 409, code: "too_many_versions",
			text: "This KEK has as many versions as one may have; nothing was changed."}},
		// One answer for every way in which a record can be wrong: a writer of etcd learns nothing by trying.
		{keys.ErrTampered, problem{status: 500, code: codeIntegrity, text: integrity}},
		{keys.ErrKEKNotFound, problem{status: 500, code: codeIntegrity, text: integrity}},
		// Nobody reads this answer; the status is for the access log.
		{context.Canceled, problem{status: 499, code: "client_closed_request", text: "The client went away."}},
		// A deadline that no dependency claimed as its own.
		{context.DeadlineExceeded, problem{status: 503, code: "timeout", retry: time.Second,
			text: "The request took too long."}},
	}...)
}

// pipesSentinels are those of the broker. Its 422s have codes of the contract's own, so they stand in
// place of the list of refused values.
func pipesSentinels() []sentinel {
	return []sentinel{
		{pipes.ErrNoIntegration, problem{status: 404, code: "entity_not_found", text: "Data integration not found."}},
		{pipes.ErrNoAccount, problem{status: 404, code: "entity_not_found", text: "Connected account not found."}},
		{pipes.ErrNoAuthorization, problem{status: 404, code: "authorization_not_found",
			text: "There is no authorization to finish by this result_id: it is unknown, expired or has failed; begin another one."}},
		{pipes.ErrVerifier, problem{status: 422, code: "code_verifier_mismatch",
			text: "code_verifier is not that of the authorization's code_challenge; after five wrong ones the authorization ends."}},
		{pipes.ErrBadClient, problem{status: 422, code: "invalid_client_credentials",
			text: theProvider + " does not accept this client_id and client_secret; nothing was changed."}},
		{pipes.ErrRefused, problem{status: 422, code: "provider_refused",
			text: theProvider + " refuses a token to this client, for another reason than its secret; the server's log has the provider's code. Nothing was changed."}},
		{pipes.ErrTooManyConnections, problem{status: 422, code: "too_many_connections",
			text: "The owner has 100 connected accounts at this provider; disconnect one before another is added."}},
		{pipes.ErrNoRevocation, problem{status: 404, code: "entity_not_found", text: "Revocation not found."}},
		{pipes.ErrIntegrationExists, problem{status: 409, code: "integration_exists",
			text: "This provider has a data integration of this ownership already."}},
		{pipes.ErrAccountExists, problem{status: 409, code: "account_exists", text: "The connected account already exists."}},
		{pipes.ErrTokenInUse, problem{status: 409, code: "refresh_token_in_use",
			text: "Another connected account has this refresh_token: each would end the other's."}},
		{pipes.ErrAccountSelection, problem{status: 409, code: "account_selection_required",
			text: "There are several connected accounts; name one with connected_account_id."}},
		{pipes.ErrEndpointChanged, problem{status: 409, code: "endpoint_changed",
			text: "The token endpoint is not at the origin that the stored credentials are bound to; store the client secret again, set the config values back, or connect again."}},
		{pipes.ErrDisabled, problem{status: 400, code: "integration_disabled", text: "The data integration is not enabled, or not for this organization."}},
		{pipes.ErrUnknownCursor, *unknownCursor()},
		{pipes.ErrAuthMethod, problem{status: 422, code: "auth_method_mismatch",
			text: "The connected account uses another authentication."}},
		{pipes.ErrReturnTo, problem{status: 422, code: "return_to_not_allowed",
			text: "return_to must be an http or https URL at one of the origins in the setting pipes.return_to."}},
		{pipes.ErrTooLarge, problem{status: 422, code: "record_too_large",
			text: "What is to be stored is too large; nothing was changed."}},
		{pipes.ErrNotConfigured, problem{status: 422, code: "client_credentials_not_configured",
			text: "The data integration has no client credentials; where each organization has its own, they are in its configuration."}},
		// The account is as it was, and the next request may succeed.
		{pipes.ErrProvider, problem{status: 503, code: "provider_unavailable", retry: time.Second,
			text: theProvider + " does not give a token just now; the connected account is as it was."}},
		{pipes.ErrClientRejected, problem{status: 503, code: "client_rejected", retry: time.Second,
			text: theProvider + " rejects the client credentials of the data integration; no connected account is to blame."}},
		// The same for unknown, forged, used and expired: the difference would help who guesses.
		{pipes.ErrTicket, problem{status: 410, code: codeTicket, text: "This link does not work any more."}},
		{pipes.ErrOtherBrowser, problem{status: 403, code: "other_browser", text: "This is not the browser that began."}},
		{pipes.ErrFlowRate, problem{status: 429, code: codeRate, retry: time.Second,
			text: "This link was used too often in a short time."}},
		{pipes.ErrConflict, *busy()},
	}
}

// otherMethod says which endpoint is the right one. The first sentence is the contract's.
func otherMethod(e *pipes.AuthMethodError) string {
	switch {
	case e.Uses == "":
		return "This data integration takes no " + string(e.Wanted) + " authentication; its auth_methods are those that it takes."
	case e.Wanted == "":
		return "This installation uses " + string(e.Uses) + " authentication. Use the POST /:slug/credentials endpoint instead."
	}
	instead := "POST /:slug/authorize"
	switch e.Uses {
	case pipes.MethodAPIKey:
		instead = "PUT /:slug/api-key"
	case pipes.MethodClientCredentials:
		instead = "PUT /:slug/client-credentials"
	}
	return "This installation uses " + string(e.Uses) + " authentication. Use the " + instead + " endpoint instead, or disconnect it first."
}

// theProvider begins what is said of one; where it is known which, its slug follows, which is that of an
// integration that exists.
const theProvider = "The provider"

// invalidPipes is a refused value of the broker. A combination of tokens is no single field's fault, and
// has a code of the contract's own.
func invalidPipes(e *pipes.InvalidError) *problem {
	p := refused(e.Code, e.Field, e.Rule)
	switch {
	case e.Malformed:
		p.status = http.StatusBadRequest
	case e.Code == pipes.CodeTokenCombination:
		p.field = ""
	}
	for _, other := range e.Others {
		p.others = append(p.others, refused(other.Code, other.Field, other.Rule))
	}
	return p
}

const (
	codeIntegrity = "integrity_failure"
	codeTicket    = "ticket_not_usable"
	codeRate      = "rate_limit_exceeded"
)

func unauthorized() *problem {
	return &problem{status: http.StatusUnauthorized, code: "unauthorized", text: "Unauthorized"}
}

// busy is 503 and not 409: SDKs retry it by themselves, and a retry is right.
func busy() *problem {
	return &problem{status: http.StatusServiceUnavailable, code: "concurrent_request", retry: time.Second,
		text: "Too many concurrent changes of the same object; nothing was changed."}
}

func internalError(cause error) *problem {
	return &problem{status: http.StatusInternalServerError, code: "internal_error",
		text: "Internal error.", cause: cause}
}

// malformed is a request that cannot be understood (400).
func malformed(code, text string) *problem {
	return &problem{status: http.StatusBadRequest, code: code, text: text}
}

// malformedQuery is a query parameter that cannot be understood (400).
func malformedQuery(field, rule string) *problem {
	return &problem{status: http.StatusBadRequest, code: "invalid_query", text: field + " " + rule + ".", field: field}
}

// refused is a value that was understood and is not allowed (422). rule goes on after the field's name
// and says what is allowed.
func refused(code, field, rule string) *problem {
	return &problem{status: http.StatusUnprocessableEntity, code: code, text: field + " " + rule + ".", field: field}
}

// unknownCursor does not fall back to the first page: a pager would begin again without end.
func unknownCursor() *problem {
	return malformed("invalid_cursor", "The cursor is none that this list gave out.")
}

// notOurs is one answer for garbage, truncation and blobs of other environments.
func notOurs() *problem {
	return malformed("invalid_encrypted_keys", "This is not a data key of this environment.")
}

// invalidCallback is for the page that providers send browsers back to.
func invalidCallback() *problem {
	return malformed("invalid_callback", "This is not what a provider sends a browser back with.")
}

func crossSite() *problem {
	return &problem{status: http.StatusForbidden, code: "cross_site_request", text: "Another site sent this form."}
}

// originNotAllowed is for a message that another site posted into a pop-up.
func originNotAllowed() *problem {
	return &problem{status: http.StatusForbidden, code: "origin_not_allowed",
		text: "The page that opened this window is at no origin of the setting cors_origins."}
}

// flowUnavailable is the end of a flow that has nowhere else to say so.
func flowUnavailable() *problem {
	return &problem{status: http.StatusConflict, code: pipes.CodeIntegrationUnavailable,
		text: "The data integration was removed or switched off; start again later."}
}

func noRoute() *problem {
	return &problem{status: http.StatusNotFound, code: "route_not_found", text: "There is nothing at this path."}
}

// noMethod goes with the Allow header that gin has set (RFC 9110 section 15.5.6).
func noMethod() *problem {
	return &problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed",
		text: "This path does not have that method; the Allow header lists those it has."}
}

// tooManyFields is a header with more names than any client has a use for.
func tooManyFields() *problem {
	return &problem{status: http.StatusRequestHeaderFieldsTooLarge, code: "too_many_headers",
		text: "The request has more than " + strconv.Itoa(maxHeaderFields) + " header fields."}
}

func pathTooLong(limit int) *problem {
	return &problem{status: http.StatusRequestURITooLong, code: "path_too_long",
		text: fmt.Sprintf("The path has at most %d bytes.", limit)}
}

func bodyTooLarge(limit int64) *problem {
	return &problem{status: http.StatusRequestEntityTooLarge, code: "body_too_large",
		text: fmt.Sprintf("The body has at most %d bytes.", limit)}
}

func tooManyRequests(wait time.Duration) *problem {
	return &problem{status: http.StatusTooManyRequests, code: codeRate, retry: wait,
		text: "The API key or its environment has made as many requests as may come within ten seconds; come back after Retry-After. " +
			"An operator can raise the settings limits.requests_per_key and limits.requests_per_environment."}
}

func wrongMediaType(text string) *problem {
	return &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", text: text}
}

// unavailable names the dependency, never its own error text. The code is the outage's own, which the
// audit trail records too.
func unavailable(o *outage.Error) *problem {
	p := &problem{status: http.StatusServiceUnavailable, code: o.Code(), retry: max(o.RetryAfter, time.Second), cause: o}
	switch {
	// The kind before the dependency: what happened to the change matters more than who is down.
	case o.Kind == outage.Unknown:
		p.text = "etcd did not answer in time; whether the change was made is not known."
	case o.Kind == outage.Full:
		p.text = "etcd is nearly full: creates and updates wait, reads and deletes work. Nothing was changed."
	case o.Dependency == outage.RootKey:
		p.text = "The root key is unavailable; nothing was changed."
	case o.Dependency == outage.CMK:
		p.text = "The KMS of a customer's key that this key context needs is unavailable; nothing was changed."
	case o.Dependency == outage.Audit:
		p.text = "The audit log cannot be written, so nothing is answered."
	case o.Dependency == outage.Journal:
		p.text = "This replica's refresh journal cannot be written, so no token is refreshed; the account is as it was."
	case o.Dependency == outage.Segments:
		p.text = "The files of older events cannot be read by this replica."
	case o.Dependency == outage.Clock:
		p.text = "This replica's clock differs from the others', so it takes no creates and updates; nothing was changed."
	case o.Dependency == outage.Node:
		p.text = "Another process runs under this replica's node id, so it takes no writes; nothing was changed."
	default:
		p.text = "etcd is unavailable; nothing was changed."
	}
	return p
}
