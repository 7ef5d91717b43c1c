package pipes_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/outage"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// useCase is one exported method of Broker that takes a call, made so that it succeeds for an
// administrator.
type useCase struct {
	action access.Action
	call   func(ctx context.Context, b *pipes.Broker, call access.Call) (result any, err error)
}

// finishing is the use case of a flow that waits, which each stack has to have first.
func finishing(t *testing.T, s *pipestest.Stack) useCase {
	t.Helper()
	r := s.MustWait(t, "user_2")
	return useCase{access.PipesFinish, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
		return b.Finish(ctx, call, r)
	}}
}

// on is the use case for one stack.
func (c useCase) on(t *testing.T, s *pipestest.Stack) useCase {
	t.Helper()
	if c.action == access.PipesFinish {
		return finishing(t, s)
	}
	return c
}

// useCases lists them by name, for a stack with a connected account of "user_1" whose slug is
// [pipestest.Slug].
func useCases() map[string]useCase {
	user := pipestest.Request("user_1")
	return map[string]useCase{
		"CreateIntegration": {access.IntegrationsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.CreateIntegration(ctx, call, pipes.CreateIntegration{Slug: pipestest.Second, Credentials: pipestest.Credentials()})
		}},
		"Integration": {access.IntegrationsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Integration(ctx, call, pipestest.Slug, pipes.OwnedByUser)
		}},
		"Integrations": {access.IntegrationsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Integrations(ctx, call, pipes.IntegrationQuery{})
		}},
		"UpdateIntegration": {access.IntegrationsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.UpdateIntegration(ctx, call, pipes.UpdateIntegration{Slug: pipestest.Slug})
		}},
		"DeleteIntegration": {access.IntegrationsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return nil, b.DeleteIntegration(ctx, call, pipestest.Slug, pipes.OwnedByUser, nil)
		}},
		"Configurations": {access.IntegrationsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Configurations(ctx, call, "org_1")
		}},
		"Configure": {access.IntegrationsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Configure(ctx, call, pipes.Configure{Organization: "org_1", Slug: pipestest.Slug, Enabled: new(bool)})
		}},
		"Authorize": {access.PipesAuthorize, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Authorize(ctx, call, pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_1"})
		}},
		"Account": {access.AccountsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Account(ctx, call, user)
		}},
		"ImportAccount": {access.AccountsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.ImportAccount(ctx, call, pipestest.Request("user_2"), pipes.AccountTokens{AccessToken: pipestest.Secret("a")})
		}},
		"InstallAPIKey": {access.AccountsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.InstallAPIKey(ctx, call, keyOf(keySlug, "user_1", apiKey))
		}},
		"InstallClientCredentials": {access.AccountsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.InstallClientCredentials(ctx, call, clientOf("user_1"))
		}},
		"UpdateAccount": {access.AccountsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.UpdateAccount(ctx, call, user, pipes.AccountTokens{Scopes: []string{"a"}})
		}},
		"DeleteAccount": {access.AccountsManage, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return nil, b.DeleteAccount(ctx, call, user)
		}},
		"Revocation": {access.AccountsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Revocation(ctx, call, revokedAccount)
		}},
		"Revocations": {access.AccountsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Revocations(ctx, call, pipes.RevocationQuery{})
		}},
		"DataProviders": {access.AccountsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.DataProviders(ctx, call, user)
		}},
		"Token": {access.TokenVend, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Token(ctx, call, user)
		}},
		"Credentials": {access.TokenVend, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Credentials(ctx, call, user)
		}},
		"TokenRefused": {access.TokenReport, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.TokenRefused(ctx, call, pipes.RefusedToken{Request: user, Token: pipestest.Secret("x")})
		}},
		"Finish": {access.PipesFinish, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Finish(ctx, call, pipes.FinishRequest{}) // see on
		}},
		"Connectors": {access.IntegrationsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Connectors(ctx, call)
		}},
		"Attempts": {access.AttemptsRead, func(ctx context.Context, b *pipes.Broker, call access.Call) (any, error) {
			return b.Attempts(ctx, call, pipes.AttemptQuery{})
		}},
	}
}

// legs are the methods for browsers, whose credential is a ticket or flow state.
func legs(ticket, state string) map[string]func(context.Context, *pipes.Broker) (any, error) {
	r := pipes.BrowserRequest{RequestID: "req_leg", Ticket: ticket}
	return map[string]func(context.Context, *pipes.Broker) (any, error){
		"Confirmation": func(ctx context.Context, b *pipes.Broker) (any, error) { return b.Confirmation(ctx, r) },
		"Depart":       func(ctx context.Context, b *pipes.Broker) (any, error) { return b.Depart(ctx, r) },
		"Cancel":       func(ctx context.Context, b *pipes.Broker) (any, error) { return b.Cancel(ctx, r) },
		"Choice": func(ctx context.Context, b *pipes.Broker) (any, error) {
			return b.Choice(ctx, pipes.ChoiceRequest{RequestID: "req_leg", Flow: state})
		},
		"Choose": func(ctx context.Context, b *pipes.Broker) (any, error) {
			return b.Choose(ctx, pipes.ChoiceRequest{RequestID: "req_leg", Flow: state})
		},
		"Popup": func(ctx context.Context, b *pipes.Broker) (any, error) { return b.Popup(ctx, r) },
		"Handoff": func(ctx context.Context, b *pipes.Broker) (any, error) {
			return b.Handoff(ctx, r, pipestest.Secret("x"))
		},
		"Callback": func(ctx context.Context, b *pipes.Broker) (any, error) {
			return b.Callback(ctx, pipes.CallbackRequest{RequestID: "req_leg", State: state})
		},
	}
}

// keySlug is that of a custom provider which takes API keys alone.
const keySlug = "keys"

func mustStack(t *testing.T) *pipestest.Stack {
	t.Helper()
	s := pipestest.New(t)
	s.MustIntegration(t, pipestest.Slug)
	s.MustConnect(t, "user_1")
	mustClientIntegration(t, s)
	must(t, errOf(s.Broker.CreateIntegration(t.Context(), s.Call(), pipes.CreateIntegration{
		Slug: keySlug, Enabled: true, AuthMethods: []pipes.AuthMethod{pipes.MethodAPIKey}, Custom: &pipes.CustomProvider{Name: "Keys"},
	})))
	at := s.Clock.Now().UTC().Truncate(time.Millisecond)
	must(t, s.Store.Apply(t.Context(), pipes.Change{
		Environment: s.Environment.ID(), Revocation: &pipes.Put[pipes.Revocation]{Record: pipes.Revocation{
			ID: revokedAccount, Environment: s.Environment.ID(), Slug: pipestest.Slug, Owner: pipes.Owner{Kind: pipes.OwnedByUser, User: "gone"},
			State: pipes.Revoked, CreatedAt: at, EndedAt: at,
		}},
	}))
	return s
}

// revokedAccount is an account that was disconnected before.
const revokedAccount = pipes.AccountID("data_installation_01JD8Z6Q5RN5T4M0A1B2C3D4EX")

// Every exported method begins with the permit: who has no rights gets a denial, one record of it, and
// nothing else. A method that is in no list fails the test.
func TestEveryMethodIsAuthorized(t *testing.T) {
	cases, browsers := useCases(), legs("", "")
	methods := reflect.TypeFor[*pipes.Broker]()
	for i := range methods.NumMethod() {
		name := methods.Method(i).Name
		_, isCase := cases[name]
		_, isLeg := browsers[name]
		if isCase == isLeg && name != "Close" {
			t.Errorf("method %s is in no list, or in two", name)
		}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := mustStack(t)
			c := c.on(t, s)
			before := s.MustEvents(t)
			guest := s.MustCallAs(t, "guest")
			result, err := c.call(t.Context(), s.Broker, guest)
			if !errors.Is(err, access.ErrDenied) {
				t.Errorf("got %v, want ErrDenied", err)
			}
			if v := reflect.ValueOf(result); v.IsValid() && !v.IsZero() {
				t.Errorf("a denied call answered %v", result)
			}
			records := s.MustAuditOf(t, guest.RequestID)
			if len(records) != 1 {
				t.Fatalf("%d audit records, want one", len(records))
			}
			r := records[0]
			if r.Phase != audit.Access || r.Result != audit.Denied || r.Action != c.action || r.Code != "forbidden" ||
				r.Status != 403 || r.ActorID != guest.Actor.ID() || r.EnvironmentID != s.Environment.ID() {
				t.Errorf("the audit record is %+v", r)
			}
			if r.UserID != "" || r.Provider != "" || r.AccountID != "" || r.KeyContext != nil {
				t.Errorf("the record of a denial tells what was not looked at: %+v", r)
			}
			if after := s.MustEvents(t); len(after) != len(before) {
				t.Errorf("a denied call changed something")
			}
			// Who may everything, but with other connectors and for other organizations, is shown nothing.
			for _, scope := range []access.Scope{{Connector: "elsewhere"}, {Organization: "elsewhere"}, {NamePrefix: "x"}} {
				result, err := c.call(t.Context(), s.Broker, s.MustCallWithin(t, scope))
				if !errors.Is(err, access.ErrDenied) && (err != nil || !isEmptyList(result)) {
					t.Errorf("out of scope %+v: %v, %v", scope, result, err)
				}
			}
			// The twin: the same call of who may everything with this connector succeeds, with its records.
			scope := access.Scope{Connector: pipestest.Slug}
			switch name {
			case "CreateIntegration":
				scope.Connector = pipestest.Second
			case "InstallAPIKey":
				scope.Connector = keySlug
			case "InstallClientCredentials":
				scope.Connector = clientOf("").Slug
			}
			there := s.MustCallWithin(t, scope)
			if result, err := c.call(t.Context(), s.Broker, there); err != nil || isEmptyList(result) && name != "Attempts" {
				t.Errorf("a call within the scope: %v, %v", result, err)
			}
			checkTrail(t, s.MustAuditOf(t, there.RequestID))
		})
	}
}

// isEmptyList tells a list, or a page of one, without entries.
func isEmptyList(result any) bool {
	v := reflect.ValueOf(result)
	if v.Kind() == reflect.Struct {
		v = v.FieldByName("Data")
	}
	return v.Kind() == reflect.Slice && v.Len() == 0
}

// checkTrail wants one record of access, or an intent and its outcome, and allowed.
func checkTrail(t *testing.T, records []audit.Record) {
	t.Helper()
	phases := make([]audit.Phase, 0, 2)
	for _, r := range records {
		phases = append(phases, r.Phase)
		if r.Result != audit.Allowed || r.Code != "" {
			t.Errorf("record %+v", r)
		}
	}
	one := len(phases) == 1 && phases[0] == audit.Access
	two := len(phases) == 2 && phases[0] == audit.Intent && phases[1] == audit.Outcome
	if !one && !two {
		t.Errorf("phases %v", phases)
	}
}

// A flow's actor may go on with its flow, and nothing else.
func TestFlowActorMayNothingElse(t *testing.T) {
	s := mustStack(t)
	call := access.Call{Actor: access.FlowActor(s.Environment.ID(), "01JD8Z6Q5RN5T4M0A1B2C3D4EX"), RequestID: "req_flow"}
	for name, c := range useCases() {
		if _, err := c.call(t.Context(), s.Broker, call); !errors.Is(err, access.ErrDenied) {
			t.Errorf("%s: got %v, want ErrDenied", name, err)
		}
	}
}

// A leg without a credential is a page, without a record; with the log closed, one with a good credential
// shows nothing and changes nothing.
func TestEveryLegNeedsItsCredential(t *testing.T) {
	s := mustStack(t)
	before := len(s.MustAuditRecords(t))
	for name, leg := range legs("x", "x") {
		if result, err := leg(t.Context(), s.Broker); !errors.Is(err, pipes.ErrTicket) || !reflect.ValueOf(result).IsZero() {
			t.Errorf("%s: got %v, %v", name, result, err)
		}
	}
	if n := len(s.MustAuditRecords(t)); n != before {
		t.Errorf("%d records of strangers", n-before)
	}
}

// Without an audit log nothing is vended, shown or changed.
func TestEveryMethodNeedsTheAuditLog(t *testing.T) {
	for name, c := range useCases() {
		t.Run(name, func(t *testing.T) {
			s := mustStack(t)
			c := c.on(t, s)
			broken := s.Replica(t)
			must(t, broken.Audit.Close())
			before := s.MustEvents(t)
			result, err := c.call(t.Context(), broken.Broker, broken.Call())
			if down := outage.Of(err); down == nil || down.Dependency != outage.Audit {
				t.Errorf("got %v, want an outage of the audit log", err)
			}
			if v := reflect.ValueOf(result); v.IsValid() && !v.IsZero() {
				t.Error("the call answered something without its record")
			}
			if after := s.MustEvents(t); len(after) != len(before) {
				t.Errorf("%d events without a record", len(after)-len(before))
			}
		})
	}
	s := mustStack(t)
	broken := s.Replica(t)
	must(t, broken.Audit.Close())
	ticket := s.MustAuthorize(t, "user_2")
	browser := s.Browser()
	callback := browser.MustReturn(t, ticket)
	for name, err := range map[string]error{
		"Confirmation": errOf(broken.Broker.Confirmation(t.Context(), browser.Request(ticket))),
		"Depart":       errOf(broken.Broker.Depart(t.Context(), browser.Request(ticket))),
		"Cancel":       errOf(broken.Broker.Cancel(t.Context(), browser.Request(ticket))),
		"Callback":     errOf(broken.Broker.Callback(t.Context(), callback)),
	} {
		if down := outage.Of(err); down == nil || down.Dependency != outage.Audit {
			t.Errorf("%s: got %v, want an outage of the audit log", name, err)
		}
	}
	if n := s.Provider.Exchanges(); n != 1 {
		t.Errorf("%d codes were sent, want the first account's alone", n)
	}
	must(t, errOf(s.Broker.Callback(t.Context(), callback)))
}

// A vend that refreshes leaves the refresh's intent and outcome beside its own record.
func TestRefreshIsInTheTrail(t *testing.T) {
	s := mustStack(t)
	s.Clock.Advance(time.Hour)
	refreshed := s.Call()
	must(t, errOf(s.Broker.Token(t.Context(), refreshed, pipestest.Request("user_1"))))
	var phases []audit.Phase
	for _, r := range s.MustAuditOf(t, refreshed.RequestID) {
		phases = append(phases, r.Phase)
		if r.UserID != "user_1" || r.Provider != pipestest.Slug || r.GrantID == "" || r.AccountID == "" {
			t.Errorf("record %+v", r)
		}
	}
	if want := []audit.Phase{audit.Intent, audit.Outcome, audit.Access}; !reflect.DeepEqual(phases, want) {
		t.Errorf("a vend with a refresh leaves %v, want %v", phases, want)
	}
}
