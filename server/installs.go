package server

import (
	"net/http"

	"culvert/pipes"
)

// putAPIKey is PUT /data-integrations/{slug}/api-key.
func (s *Server) putAPIKey() handler {
	return handle(endpoint[pipes.APIKeyInstall, pipes.Account]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.APIKeyInstall, error) { return decodeAPIKey(x, renews) },
		call:   s.pipes.InstallAPIKey,
		encode: encodeAccount,
	})
}

// addAPIKey is POST on the same path, for a further account.
func (s *Server) addAPIKey() handler {
	return handle(endpoint[pipes.APIKeyInstall, pipes.Account]{
		status: http.StatusCreated,
		decode: func(x *exchange) (pipes.APIKeyInstall, error) { return decodeAPIKey(x, adds) },
		call:   s.pipes.InstallAPIKey,
		encode: encodeAccount,
	})
}

// intent makes the member connection_intent of a verb, which each verb has one value of.
type intent func(to *pipes.Intent) member

// adds is POST's: it says so in every request.
func adds(to *pipes.Intent) member {
	return required("connection_intent", intentInto(pipes.IntentAdd), to)
}

// renews is PUT's: without it an account is connected where there is none.
func renews(to *pipes.Intent) member {
	return optional("connection_intent", intentInto(pipes.IntentReauthorize), to)
}

func intentInto(only pipes.Intent) func(string, *pipes.Intent) func(*jsonReader) error {
	return func(field string, to *pipes.Intent) func(*jsonReader) error {
		return func(r *jsonReader) error {
			err := textInto(field, to)(r)
			if err == nil && *to != only {
				err = refused("invalid_value", field, `can only be "`+string(only)+`" here`)
			}
			return err
		}
	}
}

func decodeAPIKey(x *exchange, connection intent) (pipes.APIKeyInstall, error) {
	var q pipes.APIKeyInstall
	var err error
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	return q, x.object(append(installMembers(&q.Request, &q.Labels, &q.Intent, connection),
		required("secret", secretInto, &q.Secret),
		optional("config", itemsInto, &q.Config),
	)...)
}

// putClient is PUT /data-integrations/{slug}/client-credentials.
func (s *Server) putClient() handler {
	return handle(endpoint[pipes.ClientInstall, pipes.Account]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.ClientInstall, error) { return decodeClient(x, renews) },
		call:   s.pipes.InstallClientCredentials,
		encode: encodeAccount,
	})
}

// addClient is POST on the same path, as addAPIKey.
func (s *Server) addClient() handler {
	return handle(endpoint[pipes.ClientInstall, pipes.Account]{
		status: http.StatusCreated,
		decode: func(x *exchange) (pipes.ClientInstall, error) { return decodeClient(x, adds) },
		call:   s.pipes.InstallClientCredentials,
		encode: encodeAccount,
	})
}

func decodeClient(x *exchange, connection intent) (pipes.ClientInstall, error) {
	var q pipes.ClientInstall
	var err error
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	return q, x.object(append(installMembers(&q.Request, &q.Labels, &q.Intent, connection),
		required("client_id", textInto, &q.ClientID),
		required("client_secret", secretInto, &q.Secret),
		optional("config", itemsInto, &q.Config),
	)...)
}

// installMembers are those that every install has.
func installMembers(r *pipes.Request, labels *pipes.Labels, to *pipes.Intent, connection intent) []member {
	return []member{
		required("user_id", textInto, &r.UserID),
		optional("organization_id", textInto, &r.OrganizationID),
		optional("connected_account_id", textInto, &r.AccountID),
		optional("connection_owner", textInto, &r.ConnectionOwner),
		connection(to),
		optional("account_identifier", textInto, &labels.Identifier),
		optional("account_display_name", textInto, &labels.DisplayName),
	}
}

// installation appends the account that came with an integration; null for none.
func (w *jsonWriter) installation(a *pipes.Account) {
	if a == nil {
		w.raw("null")
		return
	}
	w.raw(`{"id":`)
	w.text(string(a.ID))
	w.raw(`,"connection_role":"` + connectionRole(a) + `","account_identifier":`)
	w.textOrNull(a.Identifier)
	w.raw(`,"account_display_name":`)
	w.textOrNull(a.DisplayName)
	w.raw(`,"user_id":`)
	w.textOrNull(a.Owner.User)
	w.raw(`,"organization_id":`)
	w.textOrNull(a.Owner.Organization)
	w.raw(`,"api_key_last_4":`)
	w.textOrNull(a.KeyLast4)
	w.raw(`}`)
}
