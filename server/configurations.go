package server

import (
	"net/http"
	"slices"
	"time"

	"culvert/pipes"
)

// listConfigurations is GET /organizations/{organization_id}/data_integration_configurations.
func (s *Server) listConfigurations() handler {
	return handle(endpoint[string, []pipes.ConfigurationView]{
		status: http.StatusOK,
		decode: func(x *exchange) (string, error) {
			if _, err := x.query(); err != nil {
				return "", err
			}
			return x.segment("organization_id")
		},
		call: s.pipes.Configurations,
		encode: func(b []byte, all []pipes.ConfigurationView) ([]byte, error) {
			w := &jsonWriter{b: b}
			// This list of the contract has no cursors.
			w.raw(`{"object":"list","data":`)
			entries(w, all, w.configuration)
			w.raw(`}`)
			return w.done()
		},
	})
}

// configure is PUT /organizations/{organization_id}/data_integration_configurations/{slug}. The contract has
// one path for two integrations of a slug: it means the one for users, where there is one. Our own
// …/organization means the other, as below /data-integrations.
func (s *Server) configure(owner pipes.Ownership) handler {
	return handle(endpoint[pipes.Configure, pipes.ConfigurationView]{
		status: http.StatusOK,
		decode: func(x *exchange) (pipes.Configure, error) { return decodeConfigure(x, owner) },
		call:   s.pipes.Configure,
		encode: func(b []byte, v pipes.ConfigurationView) ([]byte, error) {
			w := &jsonWriter{b: b}
			w.configuration(v)
			return w.done()
		},
	})
}

// decodeConfigure reads a change. null takes scopes back to the integration's, and is absent elsewhere.
func decodeConfigure(x *exchange, owner pipes.Ownership) (pipes.Configure, error) {
	q := pipes.Configure{Ownership: owner}
	var err error
	if q.Organization, err = x.segment("organization_id"); err != nil {
		return q, err
	}
	if q.Slug, err = x.segment("slug"); err != nil {
		return q, err
	}
	raw, err := x.bodyAlone()
	if err != nil {
		return q, err
	}
	nulls, err := decodeNullable(raw,
		changed("enabled", flagInto, &q.Enabled),
		changed("scopes", listInto, &q.Scopes),
		optional("client_id", textInto, &q.ClientID),
		optional("client_secret", secretInto, &q.ClientSecret),
		changed(previousSecretMember, momentInto, &q.PreviousUntil),
		optional("config", itemsInto, &q.Config),
	)
	if slices.Contains(nulls, "scopes") {
		q.Scopes = new([]string)
	}
	if slices.Contains(nulls, previousSecretMember) {
		q.PreviousUntil = new(time.Time)
	}
	return q, err
}

// configuration appends an integration as it is for an organization, with the times of what the organization
// has set, or the integration's.
func (w *jsonWriter) configuration(v pipes.ConfigurationView) {
	name, created, updated := v.Slug, v.CreatedAt, v.UpdatedAt
	var own map[string]string
	if v.Provider != nil {
		name = v.Provider.Name
	}
	if v.Own != nil {
		created, updated, own = v.Own.CreatedAt, v.Own.UpdatedAt, v.Own.Config
	}
	w.raw(`{"object":"data_integration_configuration","id":`)
	w.text(string(v.ID))
	w.raw(`,"organization_id":`)
	w.text(v.Organization)
	w.raw(`,"slug":`)
	w.text(v.Slug)
	w.raw(`,"name":`)
	w.text(name)
	w.raw(`,"ownership":`)
	w.text(string(v.Ownership))
	w.raw(`,"preview":`) // Culvert's own, as in every listing of providers
	w.bool(preview(v.IntegrationView))
	w.raw(`,"enabled":`)
	w.bool(v.Enabled)
	w.raw(`,"scopes":`)
	w.scopes(v.Scopes)
	w.raw(`,"config":`)
	w.items(own)
	if v.CredentialsType != "" {
		w.raw(`,"credentials":`)
		w.organizationClient(v)
	}
	w.raw(`,"created_at":`)
	w.time(created, generalTime)
	w.raw(`,"updated_at":`)
	w.time(updated, generalTime)
	w.raw(`}`)
}

// organizationClient appends what may be shown of an organization's own client. That of the integration,
// which all organizations share, is not theirs to see.
func (w *jsonWriter) organizationClient(v pipes.ConfigurationView) {
	var own pipes.Client
	if v.Client != nil && v.Client.Organization != "" {
		own = *v.Client
	}
	w.raw(`{"credentials_type":`)
	w.text(v.CredentialsType)
	w.raw(`,"has_credentials":`)
	w.bool(own.ID != "")
	w.raw(`,"client_id":`)
	w.textOrNull(own.ID)
	w.raw(`,"client_secret_last_four":`)
	w.textOrNull(own.Last4)
	w.previousSecret(`,"previous_client_secret_last_four":`, own.Previous)
	w.raw(`,"redirect_uri":`)
	w.text(v.RedirectURI)
	w.raw(`}`)
}
