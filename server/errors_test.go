package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
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
	"culvert/keys/keystest"
	"culvert/pipes"
	"culvert/server"
	"culvert/vault"
	"culvert/vault/vaulttest"
)

// TestProblems: every error of the use cases has its status and code; none shows its own text.
func TestProblems(t *testing.T) {
	d := newDoor(t)
	known := map[error]struct {
		status int
		code   string
	}{
		vault.ErrNotFound:           {404, "entity_not_found"},
		vault.ErrExists:             {409, "item_already_exists"},
		vault.ErrVersion:            {409, "version_conflict"},
		vault.ErrTooManyObjects:     {403, "quota_exceeded"},
		vault.ErrTooManyBytes:       {403, "quota_exceeded"},
		vault.ErrIdempotency:        {409, "idempotency_error"},
		idempotency.ErrOtherBody:    {409, "idempotency_error"},
		idempotency.ErrRepeated:     {503, "concurrent_request"},
		vault.ErrConflict:           {503, "concurrent_request"},
		vault.ErrUnknownCursor:      {400, "invalid_cursor"},
		vault.ErrSearchUnavailable:  {422, "search_unavailable"},
		events.ErrUnknownCursor:     {400, "invalid_cursor"},
		access.ErrUnauthenticated:   {401, "unauthorized"},
		access.ErrDenied:            {403, "forbidden"},
		keys.ErrConflict:            {503, "concurrent_request"},
		keys.ErrShredded:            {403, "key_shredded"},
		keys.ErrShredding:           {409, "shred_in_progress"},
		keys.ErrRefused:             {403, "root_key_refused"},
		keys.ErrCMKRefused:          {403, "cmk_refused"},
		keys.ErrNoCMK:               {404, "entity_not_found"},
		keys.ErrCMKExists:           {409, "cmk_exists"},
		keys.ErrCMKBusy:             {409, "cmk_busy"},
		keys.ErrTooManyCMKs:         {409, "too_many_cmks"},
		keys.ErrCreateRate:          {429, "rate_limit_exceeded"},
		keys.ErrNotOurs:             {400, "invalid_encrypted_keys"},
		keys.ErrTampered:            {500, "integrity_failure"},
		keys.ErrKEKNotFound:         {500, "integrity_failure"},
		keys.ErrNoKEK:               {404, "entity_not_found"},
		keys.ErrUnknownCursor:       {400, "invalid_cursor"},
		keys.ErrVersions:            {409, "too_many_versions"},
		keys.ErrNoJob:               {404, "entity_not_found"},
		keys.ErrNoSchedule:          {404, "entity_not_found"},
		keys.ErrNotCancellable:      {409, "job_not_cancellable"},
		keys.ErrJobEnded:            {409, "job_ended"},
		keys.ErrNotCancelled:        {409, "job_not_cancelled"},
		keys.ErrTooManyJobs:         {429, "too_many_jobs"},
		context.Canceled:            {499, "client_closed_request"},
		context.DeadlineExceeded:    {503, "timeout"},
		pipes.ErrNoIntegration:      {404, "entity_not_found"},
		pipes.ErrNoAccount:          {404, "entity_not_found"},
		pipes.ErrBadClient:          {422, "invalid_client_credentials"},
		pipes.ErrRefused:            {422, "provider_refused"},
		pipes.ErrNoRevocation:       {404, "entity_not_found"},
		pipes.ErrNoAuthorization:    {404, "authorization_not_found"},
		pipes.ErrVerifier:           {422, "code_verifier_mismatch"},
		pipes.ErrTooManyConnections: {422, "too_many_connections"},
		pipes.ErrIntegrationExists:  {409, "integration_exists"},
		pipes.ErrAccountExists:      {409, "account_exists"},
		pipes.ErrTokenInUse:         {409, "refresh_token_in_use"},
		pipes.ErrAccountSelection:   {409, "account_selection_required"},
		pipes.ErrEndpointChanged:    {409, "endpoint_changed"},
		pipes.ErrDisabled:           {400, "integration_disabled"},
		pipes.ErrUnknownCursor:      {400, "invalid_cursor"},
		pipes.ErrAuthMethod:         {422, "auth_method_mismatch"},
		pipes.ErrTooLarge:           {422, "record_too_large"},
		pipes.ErrReturnTo:           {422, "return_to_not_allowed"},
		pipes.ErrNotConfigured:      {422, "client_credentials_not_configured"},
		pipes.ErrProvider:           {503, "provider_unavailable"},
		pipes.ErrClientRejected:     {503, "client_rejected"},
		pipes.ErrTicket:             {410, "ticket_not_usable"},
		pipes.ErrOtherBrowser:       {403, "other_browser"},
		pipes.ErrFlowRate:           {429, "rate_limit_exceeded"},
		pipes.ErrConflict:           {503, "concurrent_request"},
		webhooks.ErrNoEndpoint:      {404, "entity_not_found"},
		webhooks.ErrDuplicate:       {409, "duplicate_endpoint"},
		webhooks.ErrTooMany:         {409, "too_many_endpoints"},
		webhooks.ErrURL:             {422, "invalid_url"},
		admission.ErrNoKey:          {404, "entity_not_found"},
		admission.ErrNoRole:         {404, "entity_not_found"},
		admission.ErrKeyEnded:       {409, "api_key_already_expired"},
		admission.ErrRotated:        {409, "api_key_rotated"},
		admission.ErrLastKey:        {409, "last_admin_api_key"},
		admission.ErrTooManyKeys:    {409, "too_many_api_keys"},
		admission.ErrTooManyRoles:   {409, "too_many_roles"},
		admission.ErrExceeds:        {403, "exceeds_own_rights"},
		admission.ErrRoleExists:     {409, "role_exists"},
		admission.ErrRoleInUse:      {409, "role_in_use"},
		admission.ErrUnknownCursor:  {400, "invalid_cursor"},
		admission.ErrConflict:       {503, "concurrent_request"},
		admission.ErrTampered:       {500, "integrity_failure"},
		proof.ErrRemoved:            {410, "record_removed"},
		export.ErrNone:              {404, export.CodeNone},
		export.ErrTooMany:           {409, export.CodeTooMany},
		export.ErrNotReady:          {409, export.CodeNotReady},
		stream.ErrNoStream:          {404, stream.CodeNoStream},
		environments.ErrNotFound:    {404, "entity_not_found"},
		environments.ErrExists:      {409, "environment_exists"},
		environments.ErrTooMany:     {409, "too_many_environments"},
		environments.ErrConflict:    {503, "concurrent_request"},
		environments.ErrTampered:    {500, "integrity_failure"},
	}
	for _, err := range server.Sentinels() {
		if _, ok := known[err]; !ok {
			t.Errorf("%v is mapped and not tested", err)
		}
	}
	others := map[error]struct {
		status int
		code   string
	}{
		errors.New(marker): {500, "internal_error"},
		&vault.InvalidError{Field: "name", Rule: "is long"}:                          {422, "invalid_value"},
		&environments.InvalidError{Field: "name", Rule: "is long"}:                   {422, "invalid_value"},
		&events.InvalidError{Field: "events", Code: "required", Rule: "is required"}: {422, "required"},
		&events.InvalidError{Field: "order", Rule: "is odd", Malformed: true}:        {400, "invalid_query"},
		&pipes.InvalidError{Field: "user_id", Code: "required", Rule: "is required"}: {422, "required"},
		&pipes.InvalidError{Field: "config", Code: "x", Rule: "is", Malformed: true}: {400, "x"},
		&pipes.InvalidError{Field: "state", Code: pipes.CodeTokenCombination}:        {422, "invalid_token_combination"},
		&pipes.ProviderError{Slug: "github", Err: pipes.ErrProvider}:                 {503, "provider_unavailable"},
		&pipes.ProviderError{RetryAfter: time.Minute, Err: pipes.ErrClientRejected}:  {503, "client_rejected"},
		&pipes.RateError{RetryAfter: time.Minute}:                                    {429, "rate_limit_exceeded"},
		&outage.Error{Dependency: outage.Etcd}:                                       {503, "storage_unavailable"},
		&outage.Error{Dependency: outage.Etcd, Kind: outage.Full}:                    {503, "storage_full"},
		&outage.Error{Dependency: outage.Etcd, Kind: outage.Unknown}:                 {503, "outcome_unknown"},
		&outage.Error{Dependency: outage.RootKey}:                                    {503, "root_key_unavailable"},
		&outage.Error{Dependency: outage.CMK}:                                        {503, "cmk_unavailable"},
		&keys.CMKError{Reason: "x", Err: keys.ErrCMKRefused}:                         {403, "cmk_refused"},
		&outage.Error{Dependency: outage.Audit}:                                      {503, "audit_unavailable"},
		&outage.Error{Dependency: outage.Etcd, Cause: context.DeadlineExceeded}:      {503, "storage_unavailable"},
	}
	for err, want := range known {
		others[err] = want
	}
	for err, want := range others {
		for _, wrapped := range []error{err, fmt.Errorf("object %s: %w", marker, err)} {
			status, code, text, retry := d.server.Problem(wrapped)
			if status != want.status || code != want.code {
				t.Errorf("%v: %d %s, want %d %s", err, status, code, want.status, want.code)
			}
			if strings.Contains(text, marker) || text == "" {
				t.Errorf("%v: text %q", err, text)
			}
			if again := slices.Contains([]int{429, 503}, status); again != (retry >= time.Second) {
				t.Errorf("%v: status %d with Retry-After %v", err, status, retry)
			}
		}
	}
}

// TestProvidersAreNamed: who has several providers is told which one is down.
func TestProvidersAreNamed(t *testing.T) {
	d := newDoor(t)
	for err, want := range map[error]string{
		&pipes.ProviderError{Slug: "github", Err: pipes.ErrProvider}:       "The provider github does not give a token just now",
		&pipes.ProviderError{Slug: "github", Err: pipes.ErrClientRejected}: "The provider github rejects the client credentials",
		pipes.ErrProvider: "The provider does not give a token just now",
	} {
		if _, _, text, _ := d.server.Problem(err); !strings.HasPrefix(text, want) {
			t.Errorf("%v: %q", err, text)
		}
	}
}

// downStore is a real store in front of which calls fail while it is told so.
type downStore struct {
	vault.Store
	err error
}

func (s *downStore) Fence(ctx context.Context) error {
	if s.err != nil {
		return s.err
	}
	return s.Store.Fence(ctx)
}

// TestOutage: a dependency that is down is named, with Retry-After; what it said is for the log alone.
func TestOutage(t *testing.T) {
	down := &downStore{}
	d := newDoorWith(t, vaulttest.Config{Wrap: func(s vault.Store) vault.Store { down.Store = s; return down }}, nil)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	down.err = &outage.Error{Dependency: outage.Etcd, RetryAfter: 2500 * time.Millisecond, Cause: errors.New("no leader at node-7")}
	a := d.do(t, get(kv+"/"+id)).want(t, 503)
	shape(t, a.object(t), map[string]any{
		"error": "etcd is unavailable; nothing was changed.", "message": "etcd is unavailable; nothing was changed.",
		"code": "storage_unavailable", "request_id": requestShape,
	})
	if got := a.header.Get("Retry-After"); got != "3" {
		t.Errorf("Retry-After %q", got)
	}
	d.mustRecord(t, a)
	if log := d.log.String(); !strings.Contains(log, "no leader at node-7") || !strings.Contains(log, a.header.Get("X-Request-Id")) {
		t.Errorf("log %s", log)
	}
	down.err = nil
	d.do(t, get(kv+"/"+id)).want(t, 200)

	// Case 2: an error that nobody foresaw is a 500 without details, and in the log.
	down.err = errors.New("an unforeseen thing")
	if got := d.do(t, get(kv+"/"+id)).want(t, 500); got.code(t) != "internal_error" || strings.Contains(got.body, "unforeseen") {
		t.Errorf("body %s", got.body)
	}
	if !strings.Contains(d.log.String(), "an unforeseen thing") {
		t.Error("the cause is not in the log")
	}

	// Case 3: an integrity failure is counted.
	down.err = keys.ErrTampered
	d.do(t, get(kv+"/"+id)).want(t, 500)
	if got := metrics(d.server); !strings.Contains(got, "culvert_integrity_failures_total 1\n") {
		t.Errorf("metrics\n%s", got)
	}
}

// TestAuditDown: what cannot be recorded is not answered, not even a refusal.
func TestAuditDown(t *testing.T) {
	d := newDoor(t)
	id := d.mustCreate(t, "thing", "value")["id"].(string)
	must(t, d.stack.Audit.Close())
	for _, q := range []request{get(kv + "/" + id), create("{"), get(kv + "?limit=x")} {
		if got := d.do(t, q).want(t, 503).code(t); got != "audit_unavailable" {
			t.Errorf("code %q", got)
		}
	}
	d.alive(t)
}

// A root key that refuses is an operator's to mend: the log says which, under the id of the request, and the
// answer does not.
func TestRefusalOfTheRootKeyIsLogged(t *testing.T) {
	root := keystest.NewRoot(t)
	d := newDoorWith(t, vaulttest.Config{Roots: keys.NewRootKeys(root)}, nil)
	d.do(t, post(kv, createBody("first", "v"))).want(t, 201)
	root.Refuse()
	a := d.do(t, post(kv, `{"name":"second","value":"v","key_context":{"of_its":"own"}}`))
	a.mustRefuse(t, 403, "root_key_refused")
	if strings.Contains(a.body, root.URI()) || strings.Contains(a.body, "disabled by the test") {
		t.Errorf("the caller is told %s", a.body)
	}
	found := false
	for line := range strings.Lines(d.log.String()) {
		found = found || strings.Contains(line, "disabled by the test") && strings.Contains(line, root.URI()) &&
			strings.Contains(line, a.header.Get("X-Request-Id"))
	}
	if !found {
		t.Errorf("the log is\n%s", d.log.String())
	}
}
