package pipes

import (
	"context"
	"slices"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/keys"
)

// ConnectorView is what an integration can be made of.
type ConnectorView struct {
	// Connector is shared and must not be changed.
	*connectors.Connector
	// TakesKeys tells that accounts can be connected with API keys.
	TakesKeys bool
}

// ConnectorField is a config field of a connector.
type ConnectorField = connectors.ConfigField

// Connectors lists what integrations can be made of: the built-in connectors, in the order of their slugs.
func (b *Broker) Connectors(ctx context.Context, call access.Call) ([]ConnectorView, error) {
	o, err := b.begin(ctx, call, access.IntegrationsRead)
	if err != nil {
		return nil, err
	}
	permit, list := o.Lists(), []ConnectorView{}
	for _, c := range b.catalog.All() {
		if !permit.Allows(resource(c.Slug, keys.Context{})) {
			continue
		}
		list = append(list, ConnectorView{Connector: c, TakesKeys: slices.Contains(c.Methods, connectors.MethodAPIKey)})
	}
	return answer(ctx, o, list, nil)
}
