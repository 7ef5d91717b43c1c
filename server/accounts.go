package server

import (
	"context"
	"net/http"
	"slices"

	"culvert/internal/access"
	"culvert/pipes"
)

// accountRequest is a connected account by its owner, and what is to become of it.
type accountRequest struct {
	pipes.Request
	tokens pipes.AccountTokens
}

// ownerDecoder reads whose accounts a request is about. There is one for each of the two places where
// connected accounts stand: users and organizations.
type ownerDecoder func(*exchange) (pipes.Request, error)

// readAccount is GET /user_management/users/{user_id}/connected_accounts/{slug}, and the same of an
// organization; so the three below.
func (s *Server) readAccount(owner ownerDecoder) handler {
	return handle(endpoint[pipes.Request, pipes.Account]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.Request, error) { return decodeAccount(x, owner) },
		call:   s.pipes.Account,
		encode: encodeAccount,
	})
}

// importAccount is POST on the same path.
func (s *Server) importAccount(owner ownerDecoder) handler {
	return handle(endpoint[accountRequest, pipes.Account]{
		status: http.StatusCreated,
		decode: func(x *exchange) (accountRequest, error) { return decodeAccountTokens(x, owner) },
		call: func(ctx context.Context, c access.Call, q accountRequest) (pipes.Account, error) {
			return s.pipes.ImportAccount(ctx, c, q.Request, q.tokens)
		},
		encode: encodeAccount,
	})
}

// updateAccount is PUT on the same path.
func (s *Server) updateAccount(owner ownerDecoder) handler {
	return handle(endpoint[accountRequest, pipes.Account]{
		status: http.StatusOK,
		decode: func(x *exchange) (accountRequest, error) {
			q, err := decodeAccountTokens(x, owner)
			if err != nil {
				return q, err
			}
			return q, decodeReauthorize(x)
		},
		call: func(ctx context.Context, c access.Call, q accountRequest) (pipes.Account, error) {
			return s.pipes.UpdateAccount(ctx, c, q.Request, q.tokens)
		},
		encode: encodeAccount,
	})
}

// deleteAccount is DELETE on the same path. A body is ignored.
func (s *Server) deleteAccount(owner ownerDecoder) handler {
	return handle(endpoint[pipes.Request, struct{}]{
		status: http.StatusNoContent,
		decode: func(x *exchange) (pipes.Request, error) {
			q, err := decodeAccount(x, owner)
			if err != nil {
				return q, err
			}
			q.RevokeAtProvider, err = decodeRevoke(x)
			return q, err
		},
		call: func(ctx context.Context, c access.Call, q pipes.Request) (struct{}, error) {
			return struct{}{}, s.pipes.DeleteAccount(ctx, c, q)
		},
	})
}

// listProviders is GET /user_management/users/{user_id}/data_providers, and the same of an organization.
func (s *Server) listProviders(owner ownerDecoder) handler {
	return handle(endpoint[pipes.Request, []pipes.DataProvider]{
		status: http.StatusOK,
		decode: owner,
		call:   s.pipes.DataProviders,
		encode: func(b []byte, all []pipes.DataProvider) ([]byte, error) {
			w := &jsonWriter{b: b}
			// This list of the contract has no cursors.
			w.raw(`{"object":"list","data":`)
			entries(w, all, w.provider)
			w.raw(`}`)
			return w.done()
		},
	})
}

// ofUser is a user, by himself or within an organization.
func ofUser(x *exchange) (pipes.Request, error) {
	q := pipes.Request{ConnectionOwner: pipes.OwnedByUser}
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.UserID, err = x.segment("user_id"); err != nil {
		return q, err
	}
	if q.OrganizationID, err = parameters.text("organization_id"); err != nil {
		return q, err
	}
	q.Plural, err = parameters.flag("supports_multiple_connections")
	return q, err
}

// ofOrganization is an organization. The acting user stands in the body of what writes.
func ofOrganization(x *exchange) (pipes.Request, error) {
	q := pipes.Request{ConnectionOwner: pipes.OwnedByOrganization}
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	if q.OrganizationID, err = x.segment("organization_id"); err != nil {
		return q, err
	}
	q.Plural, err = parameters.flag("supports_multiple_connections")
	return q, err
}

func decodeAccount(x *exchange, owner ownerDecoder) (pipes.Request, error) {
	q, err := owner(x)
	if err != nil {
		return q, err
	}
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	parameters, err := x.query()
	if err != nil {
		return q, err
	}
	id, err := parameters.text("connected_account_id")
	q.AccountID = pipes.AccountID(id)
	if err == nil && id != "" && !q.AccountID.WellFormed() {
		err = malformedQuery("connected_account_id", "must be the id of a connected account")
	}
	return q, err
}

// decodeAccountTokens reads what a caller brings, and for whom of an organization. A user may bring
// nothing, and then needs no body.
func decodeAccountTokens(x *exchange, owner ownerDecoder) (accountRequest, error) {
	var q accountRequest
	var err error
	if q.Request, err = decodeAccount(x, owner); err != nil {
		return q, err
	}
	members := []member{
		optional("access_token", secretInto, &q.tokens.AccessToken),
		optional("refresh_token", secretInto, &q.tokens.RefreshToken),
		optional("expires_at", momentInto, &q.tokens.ExpiresAt),
		optional("scopes", listInto, &q.tokens.Scopes),
		optional("state", textInto, &q.tokens.State),
		optional("config", itemsInto, &q.tokens.Config),
		optional("connection_intent", textInto, &q.tokens.Intent),
	}
	if q.ConnectionOwner == pipes.OwnedByOrganization {
		return q, x.object(append(members, required("user_id", textInto, &q.UserID))...)
	}
	raw, err := x.body()
	if err != nil || len(raw) == 0 {
		return q, err
	}
	return q, decodeObject(raw, members...)
}

// decodeReauthorize reads the intent of an update, which stands in the query and can be one thing alone: an
// update connects nothing that is not there.
func decodeReauthorize(x *exchange) error {
	parameters, err := x.query()
	if err != nil {
		return err
	}
	text, err := parameters.text("connection_intent")
	if err == nil && text != "" && pipes.Intent(text) != pipes.IntentReauthorize {
		err = malformedQuery("connection_intent", `can only be "reauthorize" here`)
	}
	return err
}

func encodeAccount(b []byte, a pipes.Account) ([]byte, error) {
	w := &jsonWriter{b: b}
	w.account(&a)
	w.raw(`}`)
	return w.done()
}

// account appends every member the contract has, with null where there is nothing, and leaves the
// object open.
func (w *jsonWriter) account(a *pipes.Account) {
	w.raw(`{"object":"connected_account","id":`)
	w.text(string(a.ID))
	w.raw(`,"connection_role":"` + connectionRole(a) + `","account_identifier":`)
	w.textOrNull(a.Identifier)
	w.raw(`,"account_display_name":`)
	w.textOrNull(a.DisplayName)
	w.raw(`,"user_id":`)
	w.textOrNull(a.Owner.User)
	w.raw(`,"organization_id":`)
	w.textOrNull(a.Owner.Organization)
	w.raw(`,"scopes":`)
	texts(w, a.Scopes)
	w.raw(`,"auth_method":`)
	w.text(string(a.Method))
	w.raw(`,"api_key_last_4":`)
	w.textOrNull(a.KeyLast4)
	w.raw(`,"client_id":`)
	w.textOrNull(a.ClientID)
	w.raw(`,"client_secret_last_4":`)
	w.textOrNull(a.SecretLast4)
	w.raw(`,"config":`)
	w.items(a.Config)
	if len(a.SecretConfig) > 0 { // Culvert's own: the last characters, as of every secret
		w.raw(`,"redacted_config":`)
		w.items(a.SecretConfig)
	}
	w.raw(`,"state":`)
	w.text(string(a.State))
	w.reason(a.Reason) // Culvert's own, like the names
	w.raw(`,"token_names":`)
	texts(w, a.TokenNames)
	w.raw(`,"created_at":`)
	w.time(a.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(a.UpdatedAt, generalTime)
}

// reason appends why an account needs reauthorization, and what to do about it; null twice where it does
// not.
func (w *jsonWriter) reason(reason string) {
	w.raw(`,"reason":`)
	w.textOrNull(reason)
	w.raw(`,"reason_hint":`)
	w.textOrNull(pipes.ReasonHint(reason))
}

func connectionRole(a *pipes.Account) string {
	if a.Standard {
		return "standard"
	}
	return "compatibility"
}

// nestedAccount is an account inside a provider, where the contract has some members twice: older
// clients read the second spelling.
func (w *jsonWriter) nestedAccount(a *pipes.Account) {
	if a == nil {
		w.raw("null")
		return
	}
	w.account(a)
	w.raw(`,"userlandUserId":`)
	w.textOrNull(a.Owner.User)
	w.raw(`,"organizationId":`)
	w.textOrNull(a.Owner.Organization)
	w.raw(`,"createdAt":`)
	w.time(a.CreatedAt, generalTime)
	w.raw(`,"updatedAt":`)
	w.time(a.UpdatedAt, generalTime)
	w.raw(`}`)
}

// provider appends an integration as its user sees it. Here, too, some members are there twice, and an
// integration's ownership has a spelling that no other place has.
func (w *jsonWriter) provider(p pipes.DataProvider) {
	name, legacy := p.Slug, "userland_user"
	if p.Provider != nil {
		name = p.Provider.Name
	}
	if p.Ownership == pipes.OwnedByOrganization {
		legacy = "organization"
	}
	w.raw(`{"object":"data_provider","id":`)
	w.text(string(p.ID))
	w.raw(`,"name":`)
	w.text(name)
	w.raw(`,"description":`)
	w.textOrNull(p.Description)
	w.raw(`,"slug":`)
	w.text(p.Slug)
	w.raw(`,"integration_type":`)
	w.text(integrationType(p.IntegrationView))
	w.raw(`,"credentials_type":"` + credentialsType(p) + `","scopes":`)
	w.scopes(p.Scopes)
	w.raw(`,"auth_methods":`)
	texts(w, p.AuthMethods)
	w.raw(`,"preview":`)
	w.bool(preview(p.IntegrationView))
	w.raw(`,"connection_owner":`)
	w.text(string(p.Ownership))
	w.raw(`,"ownership":"` + legacy + `","created_at":`)
	w.time(p.CreatedAt, generalTime)
	w.raw(`,"updated_at":`)
	w.time(p.UpdatedAt, generalTime)
	w.raw(`,"integrationType":`)
	w.text(integrationType(p.IntegrationView))
	w.raw(`,"credentialsType":"` + credentialsType(p) + `","createdAt":`)
	w.time(p.CreatedAt, generalTime)
	w.raw(`,"updatedAt":`)
	w.time(p.UpdatedAt, generalTime)
	w.raw(`,"connected_account":`)
	w.nestedAccount(p.Account)
	w.raw(`,"connected_accounts":`)
	entries(w, p.Accounts, w.nestedAccount)
	w.raw(`}`)
}

// credentialsType is the older word for what a provider's accounts have: of several methods OAuth counts,
// which is all that clients of that time know.
func credentialsType(p pipes.DataProvider) string {
	if slices.Contains(p.AuthMethods, pipes.MethodOAuth) || len(p.AuthMethods) == 0 {
		return "oauth2"
	}
	return string(p.AuthMethods[0])
}
