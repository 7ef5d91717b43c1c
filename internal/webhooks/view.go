package webhooks

import (
	"slices"
	"strings"

	"culvert/internal/id"
	"culvert/internal/secret"
)

// View is an endpoint as callers see it.
type View struct {
	Endpoint
	// Hint is the secret with all but its last four characters hidden.
	Hint string
	// Progress is nil where nobody asked for it; Letters is the number of dead letters then.
	Progress *Progress
	Letters  uint64
	// Damaged says that its record is not what was stored: nothing but the id means anything.
	Damaged bool
}

// State says how deliveries go: "disabled", "failing" or "delivering".
func (v *View) State() string {
	switch {
	case v.Disabled:
		return "disabled"
	case v.Progress != nil && v.Progress.Failures > 0:
		return "failing"
	}
	return "delivering"
}

// views are all of them, the damaged ones in their places as far as ids tell when those were made.
func (l *Endpoints) views(view func(*Endpoint) View) []View {
	all := make([]View, 0, len(l.List)+len(l.Damaged))
	for i := range l.List {
		all = append(all, view(&l.List[i]))
	}
	for _, id := range l.Damaged {
		all = append(all, damagedView(id))
	}
	slices.SortStableFunc(all, func(a, b View) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return all
}

// damagedView is what can be said of an endpoint whose record is not what was stored.
func damagedView(endpoint EndpointID) View {
	at, _ := id.ULIDTime(strings.TrimPrefix(string(endpoint), endpointPrefix))
	return View{Endpoint: Endpoint{ID: endpoint, Disabled: true, CreatedAt: at, UpdatedAt: at}, Damaged: true}
}

// view shows an endpoint.
func (o *operation) view(e *Endpoint) View {
	return View{Endpoint: *e, Hint: o.env.WebhookSigner(string(e.ID), e.Secret.Seed).Hint()}
}

// Revealed is an endpoint with its secret, the one time that it is shown.
type Revealed struct {
	View
	Secret secret.Bytes
}

func (o *operation) reveal(e *Endpoint) Revealed {
	return Revealed{o.view(e), o.env.WebhookSigner(string(e.ID), e.Secret.Seed).Secret()}
}
