package server

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"culvert/internal/access"
	"culvert/pipes"
)

// Route is one row of the table, as tests and documentation walk it.
type Route struct {
	Method string
	// Path is a template: ":name" stands for one escaped segment.
	Path string
	// Alias is a second spelling of the path, which is the same row in every other respect: metrics, logs
	// and the audit trail know the first alone. Empty for most.
	Alias string
	// Action is what the caller needs permission for; empty on the routes that ask for no credential.
	Action access.Action
	// Once marks the creates that honour an Idempotency-Key: of all requests under one key, one makes something.
	Once bool
	// Browser marks the legs of a browser in a flow: the credential is the ticket or flow state in the URL
	// and not an API key, and all answers are pages or redirects.
	Browser bool
}

// table is THE table: every route there is. Handlers take no part in deciding who may: the action here
// is what the audit trail says of a call refused in decoding, and what the use case authorizes.
func (s *Server) table() []*route {
	return []*route{
		s.once("/vault/v1/kv", access.DataCreate, s.createObject()),
		s.row(http.MethodGet, "/vault/v1/kv", access.NamesList, s.listObjects()),
		s.row(http.MethodGet, "/vault/v1/kv/name/:name", access.DataRead, s.readObjectByName()),
		s.row(http.MethodGet, "/vault/v1/kv/:id", access.DataRead, s.readObject()),
		s.row(http.MethodPut, "/vault/v1/kv/:id", access.DataUpdate, s.updateObject()),
		s.row(http.MethodDelete, "/vault/v1/kv/:id", access.DataDelete, s.deleteObject()),
		s.row(http.MethodGet, "/vault/v1/kv/:id/metadata", access.MetadataRead, s.describeObject()),
		s.row(http.MethodGet, "/vault/v1/kv/:id/versions", access.MetadataRead, s.listVersions()),

		s.row(http.MethodPost, "/vault/v1/keys/data-key", access.DEKCreate, s.createDataKey()),
		s.row(http.MethodPost, "/vault/v1/keys/decrypt", access.DEKDecrypt, s.decryptDataKey()),
		s.row(http.MethodPost, "/vault/v1/keys/rekey", access.DEKRekey, s.rekeyDataKey()),

		s.once("/data-integrations", access.IntegrationsManage, s.createIntegration()),
		s.row(http.MethodGet, "/data-integrations", access.IntegrationsRead, s.listIntegrations()),
		s.row(http.MethodGet, "/data-integrations/:slug", access.IntegrationsRead, s.readIntegration(pipes.OwnedByUser)),
		s.row(http.MethodPut, "/data-integrations/:slug", access.IntegrationsManage, s.updateIntegration(pipes.OwnedByUser)),
		s.row(http.MethodDelete, "/data-integrations/:slug", access.IntegrationsManage, s.deleteIntegration(pipes.OwnedByUser)),
		s.row(http.MethodGet, "/data-integrations/:slug/organization", access.IntegrationsRead, s.readIntegration(pipes.OwnedByOrganization)),
		s.row(http.MethodPut, "/data-integrations/:slug/organization", access.IntegrationsManage, s.updateIntegration(pipes.OwnedByOrganization)),
		s.row(http.MethodDelete, "/data-integrations/:slug/organization", access.IntegrationsManage, s.deleteIntegration(pipes.OwnedByOrganization)),

		s.row(http.MethodPost, "/data-integrations/:slug/token", access.TokenVend, s.vendToken()),
		s.row(http.MethodPost, "/data-integrations/:slug/credentials", access.TokenVend, s.vendCredential()),
		s.row(http.MethodPut, "/data-integrations/:slug/api-key", access.AccountsManage, s.putAPIKey()),
		s.once("/data-integrations/:slug/api-key", access.AccountsManage, s.addAPIKey()),
		s.row(http.MethodPut, "/data-integrations/:slug/client-credentials", access.AccountsManage, s.putClient()),
		s.once("/data-integrations/:slug/client-credentials", access.AccountsManage, s.addClient()),
		s.row(http.MethodGet, "/user_management/users/:user_id/connected_accounts/:slug", access.AccountsRead, s.readAccount(ofUser)),
		s.once("/user_management/users/:user_id/connected_accounts/:slug", access.AccountsManage, s.importAccount(ofUser)),
		s.row(http.MethodPut, "/user_management/users/:user_id/connected_accounts/:slug", access.AccountsManage, s.updateAccount(ofUser)),
		s.row(http.MethodDelete, "/user_management/users/:user_id/connected_accounts/:slug", access.AccountsManage, s.deleteAccount(ofUser)),
		s.row(http.MethodGet, "/user_management/users/:user_id/data_providers", access.AccountsRead, s.listProviders(ofUser)),
		s.row(http.MethodGet, "/organizations/:organization_id/connected_accounts/:slug", access.AccountsRead, s.readAccount(ofOrganization)),
		s.once("/organizations/:organization_id/connected_accounts/:slug", access.AccountsManage, s.importAccount(ofOrganization)),
		s.row(http.MethodPut, "/organizations/:organization_id/connected_accounts/:slug", access.AccountsManage, s.updateAccount(ofOrganization)),
		s.row(http.MethodDelete, "/organizations/:organization_id/connected_accounts/:slug", access.AccountsManage, s.deleteAccount(ofOrganization)),
		s.row(http.MethodGet, "/organizations/:organization_id/data_providers", access.AccountsRead, s.listProviders(ofOrganization)),

		s.row(http.MethodGet, "/organizations/:organization_id/data_integration_configurations", access.IntegrationsRead, s.listConfigurations()),
		s.row(http.MethodPut, "/organizations/:organization_id/data_integration_configurations/:slug", access.IntegrationsManage, s.configure("")),
		s.row(http.MethodPut, "/organizations/:organization_id/data_integration_configurations/:slug/organization", access.IntegrationsManage, s.configure(pipes.OwnedByOrganization)),

		s.row(http.MethodPost, "/data-integrations/:slug/authorize", access.PipesAuthorize, s.authorize()),
		s.leg(http.MethodGet, "/data-integrations/:ticket/authorize-redirect", access.FlowConfirm, s.confirm()),
		s.leg(http.MethodPost, "/data-integrations/:ticket/authorize-redirect", access.FlowConfirm, s.depart()),
		s.leg(http.MethodPost, "/data-integrations/:ticket/cancel", access.FlowConfirm, s.cancel()),
		s.leg(http.MethodGet, "/data-integrations/:slug/:dik/callback", access.FlowComplete, s.callback()),
		s.leg(http.MethodPost, "/data-integrations/:slug/:dik/callback", access.FlowComplete, s.postedCallback()),
		s.leg(http.MethodGet, "/data-integrations/:flow/account-choice", access.FlowComplete, s.showChoice()),
		s.leg(http.MethodPost, "/data-integrations/:flow/account-choice", access.FlowComplete, s.choose()),
		s.leg(http.MethodGet, "/pipes/redirecting", public, s.redirecting()),
		s.leg(http.MethodGet, popupPath, access.FlowConfirm, s.popup()),
		s.leg(http.MethodPost, popupPath, access.FlowConfirm, s.handoff()),
		s.row(http.MethodPost, "/culvert/v1/authorizations/finish", access.PipesFinish, s.finish()),
		s.row(http.MethodGet, "/culvert/v1/connectors", access.IntegrationsRead, s.listConnectors()),
		s.row(http.MethodGet, "/culvert/v1/data-integrations/:slug/attempts", access.AttemptsRead, s.listAttempts()),
		s.asking(http.MethodPost, "/culvert/v1/data-integrations/:slug/token-refused", access.TokenReport, s.tokenRefused()),
		s.row(http.MethodGet, "/culvert/v1/revocations", access.AccountsRead, s.listRevocations()),
		s.row(http.MethodGet, "/culvert/v1/revocations/:id", access.AccountsRead, s.readRevocation()),

		s.row(http.MethodGet, "/culvert/v1/usage", access.UsageRead, s.readUsage()),
		s.row(http.MethodGet, "/culvert/v1/keks", access.KEKRead, s.listKEKs()),
		s.row(http.MethodGet, "/culvert/v1/keks/:id", access.KEKRead, s.describeKEK()),
		s.once("/culvert/v1/keks/:id/rotate", access.KEKRotate, s.rotateKEK()),
		s.once("/culvert/v1/jobs", access.JobCreate, s.createJob()),
		s.row(http.MethodGet, "/culvert/v1/jobs", access.JobRead, s.listJobs()),
		s.row(http.MethodGet, "/culvert/v1/jobs/:id", access.JobRead, s.readJob()),
		s.row(http.MethodPost, "/culvert/v1/jobs/:id/cancel", access.JobCancel, s.cancelJob()),
		s.row(http.MethodPost, "/culvert/v1/jobs/:id/resume", access.JobCreate, s.resumeJob()),

		s.row(http.MethodGet, "/culvert/v1/rotation-schedule", access.ScheduleRead, s.readSchedule()),
		s.row(http.MethodPut, "/culvert/v1/rotation-schedule", access.ScheduleManage, s.setSchedule()),
		s.row(http.MethodDelete, "/culvert/v1/rotation-schedule", access.ScheduleManage, s.removeSchedule()),

		s.once("/culvert/v1/cmks", access.CMKAttach, s.attachCMK()),
		s.row(http.MethodGet, "/culvert/v1/cmks", access.CMKRead, s.listCMKs()),
		s.row(http.MethodGet, "/culvert/v1/cmks/:id", access.CMKRead, s.readCMK()),
		s.row(http.MethodPost, "/culvert/v1/cmks/:id/verify", access.CMKVerify, s.verifyCMK()),
		s.row(http.MethodDelete, "/culvert/v1/cmks/:id", access.CMKDetach, s.detachCMK()),

		s.row(http.MethodPost, "/culvert/v1/api-keys", access.APIKeyCreate, s.createAPIKey()),
		s.row(http.MethodGet, "/culvert/v1/api-keys", access.APIKeyRead, s.listAPIKeys()),
		s.row(http.MethodGet, "/culvert/v1/api-keys/:id", access.APIKeyRead, s.readAPIKey()),
		s.row(http.MethodPost, "/culvert/v1/api-keys/:id/rotate", access.APIKeyRotate, s.rotateAPIKey()),
		s.row(http.MethodPost, "/culvert/v1/api-keys/:id/expire", access.APIKeyExpire, s.expireAPIKey(false)),
		s.row(http.MethodDelete, "/culvert/v1/api-keys/:id", access.APIKeyRevoke, s.revokeAPIKey(false)),
		s.once("/culvert/v1/roles", access.RoleCreate, s.createRole()),
		s.row(http.MethodGet, "/culvert/v1/roles", access.RoleRead, s.listRoles()),
		s.row(http.MethodGet, "/culvert/v1/roles/:name", access.RoleRead, s.readRole()),
		s.row(http.MethodPut, "/culvert/v1/roles/:name", access.RoleUpdate, s.replaceRole()),
		s.row(http.MethodDelete, "/culvert/v1/roles/:name", access.RoleDelete, s.deleteRole()),
		s.row(http.MethodPost, "/culvert/v1/access/explain", access.AccessExplain, s.explainAccess()),

		s.row(http.MethodPost, "/culvert/v1/environments", access.EnvironmentsCreate, s.createEnvironment()),
		s.row(http.MethodGet, "/culvert/v1/environments", access.EnvironmentsRead, s.listEnvironments()),
		s.row(http.MethodGet, "/culvert/v1/environments/:id", access.EnvironmentsRead, s.readEnvironment()),

		s.row(http.MethodGet, "/organizations/:organization_id/api_keys", access.APIKeyRead, s.listOrganizationKeys()),
		s.row(http.MethodPost, "/organizations/:organization_id/api_keys", access.APIKeyCreate, s.createOrganizationKey()),
		s.row(http.MethodPost, "/api_keys/validations", access.APIKeyValidate, s.validateKey()),
		s.row(http.MethodPost, "/api_keys/:id/expire", access.APIKeyExpire, s.expireAPIKey(true)),
		s.row(http.MethodDelete, "/api_keys/:id", access.APIKeyRevoke, s.revokeAPIKey(true)),

		s.row(http.MethodGet, "/events", access.EventsList, s.listEvents()),
		s.row(http.MethodPost, webhooksPath, access.WebhooksCreate, s.createEndpoint()),
		s.row(http.MethodGet, webhooksPath, access.WebhooksRead, s.listEndpoints()),
		s.row(http.MethodPatch, webhooksPath+"/:id", access.WebhooksUpdate, s.updateEndpoint()),
		s.row(http.MethodDelete, webhooksPath+"/:id", access.WebhooksDelete, s.deleteEndpoint()),
		s.row(http.MethodGet, "/culvert/v1/webhooks/:id", access.WebhooksRead, s.readEndpoint()),
		s.row(http.MethodPost, "/culvert/v1/webhooks/:id/rotate-secret", access.WebhooksRotate, s.rotateEndpointSecret()),
		s.row(http.MethodPost, "/culvert/v1/webhooks/:id/replay", access.WebhooksReplay, s.replayEndpoint()),
		s.row(http.MethodGet, "/culvert/v1/webhooks/:id/deliveries", access.WebhooksRead, s.listDeliveries()),
		s.row(http.MethodGet, "/culvert/v1/webhooks/:id/dead-letters", access.WebhooksRead, s.listDeadLetters()),

		s.row(http.MethodGet, "/culvert/v1/audit/records", access.AuditRead, s.listRecords()),
		s.row(http.MethodGet, "/culvert/v1/audit/checkpoints", access.AuditProve, s.listCheckpoints()),
		s.row(http.MethodPost, "/culvert/v1/audit/key/rotate", access.AuditKeyRotate, s.rotateAuditKey()),
		s.row(http.MethodGet, "/culvert/v1/audit/proofs/inclusion", access.AuditProve, s.proveInclusion()),
		s.row(http.MethodGet, "/culvert/v1/audit/proofs/consistency", access.AuditProve, s.proveConsistency()),
		s.row(http.MethodPost, exportsPath, access.AuditExport, s.createExport()),
		s.row(http.MethodGet, exportsPath+"/:id", access.AuditExportRead, s.readExport()),
		s.row(http.MethodGet, exportsPath+"/:id/file", access.AuditExportRead, s.fetchExport()),
		s.row(http.MethodGet, "/culvert/v1/audit/streams", access.AuditStreamsRead, s.listStreams()),
		s.row(http.MethodPost, "/culvert/v1/audit/streams/:name/rewind", access.AuditStreamsRewind, s.rewindStream()),

		s.row(http.MethodGet, "/healthz", public, s.alive()),
		s.row(http.MethodGet, "/readyz", public, s.ready()),
	}
}

// public marks the routes that ask for no credential.
const public access.Action = ""

// vaultPrefix tells the routes whose errors have the vault's shape.
const vaultPrefix = "/vault/"

// ownPrefix is that of what the contract does not have.
const ownPrefix = "/culvert/v1/"

// webhooksPath is that of the contract's webhook endpoints, whose routes wait for nobody but storage.
const webhooksPath = "/webhook_endpoints"

// The contract's documentation and some of its clients spell the same paths with an underscore.
const (
	integrationsPath  = "/data-integrations"
	integrationsAlias = "/data_integrations"
)

// route is a row with what serving it needs.
type route struct {
	Route
	// name is method and template, as audit records show it.
	name string
	// parameters are the names in the template, in order.
	parameters []string
	handler    handler
	// vault routes carry the member "error" in error bodies.
	vault bool
	// prompt routes wait no longer than patience for storage, in all; others may have to wait for a provider,
	// whose answer must not be lost.
	prompt   bool
	requests requestCounter
	// log has method and route in every line, written once.
	log *slog.Logger
}

func (s *Server) row(method, path string, action access.Action, h handler) *route {
	r := &route{
		Route:   Route{Method: method, Path: path, Action: action},
		name:    method + " " + path,
		handler: h,
		vault:   hasVaultPrefix(path),
		prompt: method == http.MethodGet || hasVaultPrefix(path) || strings.HasPrefix(path, ownPrefix) ||
			strings.HasPrefix(path, webhooksPath) || strings.HasPrefix(path, exportsPath) || isAboutKeys(path),
		requests: s.metrics.requestCounter(path, method),
		log:      s.logger,
	}
	if path != unmatched {
		r.log = s.logger.With(slog.String("method", method), slog.String("route", path))
	}
	if rest, ok := strings.CutPrefix(path, integrationsPath); ok {
		r.Alias = integrationsAlias + rest
	}
	for segment := range strings.SplitSeq(path, "/") {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			r.parameters = append(r.parameters, name)
		}
	}
	return r
}

// once is a row of a create that honours an Idempotency-Key.
func (s *Server) once(path string, action access.Action, h handler) *route {
	r := s.row(http.MethodPost, path, action, h)
	r.Once = true
	return r
}

// asking is a row of our own that may have to wait for a provider.
func (s *Server) asking(method, path string, action access.Action, h handler) *route {
	r := s.row(method, path, action, h)
	r.prompt = false
	return r
}

// leg is a row that a browser calls in a flow.
func (s *Server) leg(method, path string, action access.Action, h handler) *route {
	r := s.row(method, path, action, h)
	r.Browser, r.prompt = true, false
	return r
}

// positional is a template as gin is told it. gin wants one name for a parameter wherever paths share
// what stands before it; ours are named for what they are, and a ticket is no slug.
func positional(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if strings.HasPrefix(segment, ":") {
			segments[i] = ":" + strconv.Itoa(i)
		}
	}
	return strings.Join(segments, "/")
}

// Routes returns the table.
func (s *Server) Routes() []Route {
	rows := make([]Route, len(s.routes))
	for i, r := range s.routes {
		rows[i] = r.Route
	}
	return rows
}

// route fills the router from the table. gin routes and does nothing else: it neither logs, nor
// redirects, nor writes a byte of any answer (see exchange.Write).
func (s *Server) route() {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	// With any other settings gin answers 404 for %2F, turns "+" into a space, unescapes twice, or
	// redirects "a%2Fb/" to a name the caller did not mean.
	e.UseEscapedPath = true
	e.UnescapePathValues = false
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = true

	s.routes = s.table()
	for _, row := range s.routes {
		serve := func(c *gin.Context) {
			x := exchangeOf(c)
			x.route, x.params = row, c.Params
			x.finish(row.handler(x))
		}
		e.Handle(row.Method, positional(row.Path), serve)
		if row.Alias != "" {
			e.Handle(row.Method, positional(row.Alias), serve)
		}
	}
	// No action and no handler: a request without a route is answered before anybody is asked who he is.
	// That tells a stranger the table, which is public anyway.
	s.unmatched = s.row("", unmatched, public, nil)
	e.NoRoute(func(c *gin.Context) { exchangeOf(c).finish(noRoute()) })
	e.NoMethod(func(c *gin.Context) { exchangeOf(c).finish(noMethod()) })
	s.engine = e
}

// exchangeOf finds the request behind gin's context: gin's writer wraps the one it was handed, and that
// is the exchange.
func exchangeOf(c *gin.Context) *exchange {
	return c.Writer.(interface{ Unwrap() http.ResponseWriter }).Unwrap().(*exchange)
}

// isAboutKeys tells the contract's routes of API keys, which no provider has to do with.
func isAboutKeys(path string) bool {
	return strings.HasPrefix(path, "/api_keys/") || strings.HasSuffix(path, "/api_keys")
}

func hasVaultPrefix(path string) bool { return strings.HasPrefix(path, vaultPrefix) }
