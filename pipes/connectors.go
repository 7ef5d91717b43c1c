package pipes

import (
	"context"

	"culvert/connectors"
	"culvert/internal/access"
)

// Connectors lists what integrations can be made of: the built-in connectors, in the order of their slugs.
// They are shared and must not be changed.
func (b *Broker) Connectors(ctx context.Context, call access.Call) ([]*connectors.Connector, error) {
	o, err := b.begin(ctx, call, access.IntegrationsRead)
	if err != nil {
		return nil, err
	}
	return answer(ctx, o, b.catalog.All(), nil)
}
