package pipes_test

import (
	"errors"
	"strings"
	"testing"

	"culvert/connectors"
	"culvert/pipes"
	"culvert/pipes/pipestest"
)

// TestConfigFields: a field's default stands where it is needed; of a provider that needs a value nothing is
// begun, and who asks is told, not the user at the end of a link.
func TestConfigFields(t *testing.T) {
	for _, required := range []bool{false, true} {
		s := pipestest.WithConfig(t, pipestest.Config{Connector: func(c *connectors.Connector) {
			f := connectors.ConfigField{
				Key: "site", Label: "Site", Scope: connectors.ConfigInstallation, Description: "Where it is.",
				Required: required, Example: "eu", Pattern: "^(?:[a-z]+)$", Order: 1,
			}
			if !required {
				f.Default = "world"
			}
			c.Config = []connectors.ConfigField{f}
			c.AuthorizeParams = map[string]string{"site": "${config.site}"}
		}})
		i := s.MustIntegration(t, pipestest.Slug)
		r := pipes.AuthorizeRequest{Slug: pipestest.Slug, UserID: "user_1"}
		var refused *pipes.InvalidError
		switch begun, err := s.Broker.Authorize(t.Context(), s.Call(), r); {
		case !required:
			must(t, err)
			if at := s.Browser().MustDepart(t, pipestest.Ticket(t, begun.URL)); i.State != "valid" || !strings.Contains(at, "site=world") {
				t.Errorf("the integration is %s, and the browser leaves for %s", i.State, at)
			}
		case !errors.As(err, &refused) || refused.Code != pipes.CodeUnsupported || i.State != "invalid":
			t.Errorf("a value is missing: %v; the integration is %s", err, i.State)
		}
	}
}

// TestConfigIsNotTaken: a value that is not stored is refused, and not taken as if it were.
func TestConfigIsNotTaken(t *testing.T) {
	s := pipestest.New(t)
	mustKeyIntegration(t, s, nil, pipes.MethodAPIKey)
	key := keyOf(pipestest.Second, "user_1", apiKey)
	key.Config = map[string]string{"host": "eu.example"}
	var refused *pipes.InvalidError
	if err := errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), key)); !errors.As(err, &refused) || refused.Field != "config" {
		t.Errorf("with a config: %v", err)
	}
	key.Config = map[string]string{}
	must(t, errOf(s.Broker.InstallAPIKey(t.Context(), s.Call(), key)))
}
