package pipes

import (
	"cmp"
	"context"

	"culvert/connectors"
	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// Intent says which account an install is about (contract section 2.2, connection_intent). Empty, it is
// the owner's account, or a new one if there is none.
type Intent string

const (
	// IntentAdd connects another account, and changes none that is there.
	IntentAdd Intent = "add"
	// IntentReauthorize renews an account that is there, and connects none.
	IntentReauthorize Intent = "reauthorize"
)

// APIKeyInstall connects an account with a key that its owner has from the provider.
type APIKeyInstall struct {
	Request
	Labels
	Intent Intent
	// Config are values of the provider's config fields for the account. Without any, one that is there keeps its own.
	Config map[string]string
	Secret secret.Bytes
}

// Labels are what a caller calls an account that no provider is asked about. Empty ones leave what is there.
type Labels struct{ Identifier, DisplayName string }

func (l *Labels) check() error {
	return gather(
		checkText("account_identifier", l.Identifier, MaxLabel), checkText("account_display_name", l.DisplayName, MaxLabel),
	)
}

// InstallAPIKey connects an account with an API key, or replaces the key of the one there is, which may be
// another provider's by then. No provider is asked: what a key is good for is seen when it is used.
//
// Errors: [*InvalidError], [ErrNoIntegration], [ErrDisabled], [ErrNoAccount] if one was named or is to be
// renewed, [ErrAccountSelection], [ErrTooManyConnections], [*AuthMethodError], [ErrConflict].
func (b *Broker) InstallAPIKey(ctx context.Context, call access.Call, r APIKeyInstall) (Account, error) {
	o, err := b.begin(ctx, call, access.AccountsManage)
	if err != nil {
		return Account{}, err
	}
	stored, err := o.rounds(ctx, func(ctx context.Context) (*Account, error) { return o.installKey(ctx, &r) })
	return committed(ctx, o, stored, err)
}

// installKey is one round.
func (o *operation) installKey(ctx context.Context, r *APIKeyInstall) (*Account, error) {
	wrong := gather(r.Labels.check(), checkSecret("secret", r.Secret, 1), o.broker.checkConfig(r.Slug, r.Config))
	i, s, err := o.installable(ctx, &r.Request, r.Intent, MethodAPIKey, wrong)
	if err != nil {
		return nil, err
	}
	config, err := o.broker.configFor(i, s.account.Record, r.Config, MethodAPIKey, false)
	if err != nil {
		return nil, err
	}
	if err := o.Intend(ctx); err != nil {
		return nil, err
	}
	got, err := o.keyArrival(ctx, i, s, r.Secret, config)
	if err != nil {
		return nil, err
	}
	got.account = connectors.Account{ID: cmp.Or(r.Identifier, got.account.ID), Name: cmp.Or(r.DisplayName, got.account.Name)}
	change, account, err := o.arrive(ctx, s, got, false)
	if err != nil {
		return nil, err
	}
	o.Makes(string(account.ID))
	return account, o.broker.store.Apply(ctx, change)
}

// installable finds the integration and the slot that an install is about, its account chosen, or empty for
// a new one. wrong is what is wrong with the rest of the request.
func (o *operation) installable(ctx context.Context, r *Request, intent Intent, m AuthMethod, wrong error) (*Integration, slot, error) {
	i, s, err := o.request(ctx, r)
	if err != nil {
		return nil, slot{}, err
	}
	switch err := gather(r.checkActing(), intent.check(r), wrong); {
	case err != nil:
		return nil, slot{}, err
	case !i.Enabled:
		return nil, slot{}, ErrDisabled
	case !i.supports(m):
		return nil, slot{}, &AuthMethodError{Wanted: m}
	}
	s, err = s.target(r, intent, m)
	return i, s, err
}

func (n Intent) check(r *Request) error {
	switch {
	case n != "" && n != IntentAdd && n != IntentReauthorize:
		return invalid("connection_intent", `must be "add" or "reauthorize"`)
	case n == IntentAdd && r.AccountID != "":
		return invalid("connected_account_id", "must not be named where an account is added")
	}
	return nil
}

// only is check for a call that has no other intent than one.
func (n Intent) only(one Intent, r *Request) error {
	if n != "" && n != one {
		return invalid("connection_intent", `can only be "`+string(one)+`" here`)
	}
	return n.check(r)
}

// target is the slot with the account that an install is about, which has the method m, or with none for a
// new one: where the compatibility slot is free, and no account is named or to be renewed. Unlike a read it
// looks at all accounts, whether or not the caller says that it knows of several: no key is put in the place
// of another's.
func (s slot) target(r *Request, intent Intent, m AuthMethod) (slot, error) {
	if intent == IntentAdd {
		return s.further()
	}
	if intent == "" && r.AccountID == "" && s.account.Record == nil {
		return s.further()
	}
	found, err := s.choose(&Request{AccountID: r.AccountID, Plural: true})
	switch {
	case err != nil:
		return slot{}, err
	case found.Record.Method != m:
		return slot{}, &AuthMethodError{Uses: found.Record.Method, Wanted: m}
	}
	s.account = found
	return s, nil
}

// keyArrival is an API key on its way into an account. It is kept as an access token that does not end, in
// a grant of its own and bound to no origin, because this server sends it nowhere.
func (o *operation) keyArrival(ctx context.Context, i *Integration, s slot, key secret.Bytes, config accountConfig) (arrival, error) {
	got := arrival{
		integration: i, method: MethodAPIKey, owner: s.owner, tokens: keys.GrantTokens{Access: key}, keyLast4: key.Last4(),
		obtainedAt: o.broker.now(), config: config,
	}
	a := s.account.Record
	if a == nil {
		return got, nil
	}
	got.account = connectors.Account{ID: a.Identifier, Name: a.DisplayName}
	return got, o.keepSecrets(ctx, a, &got.config)
}

// checkSecret accepts a secret of at least so many bytes.
func checkSecret(field string, s secret.Bytes, least int) error {
	switch n := s.Len(); {
	case n == 0:
		return required(field)
	case n < least:
		return invalid(field, "is too short")
	case n > MaxToken:
		return invalid(field, "is too long")
	}
	return nil
}

// OwnedKey is an API key that comes with its integration (contract section 2.2, api_key). The account is the
// user's, or the organization's where the integration is for those.
type OwnedKey struct {
	Secret                 secret.Bytes
	UserID, OrganizationID string
}

// minOwnedKey is the contract's minLength of such a key.
const minOwnedKey = 5

// checkKey checks a key that came with its integration, if one did.
func (i *Integration) checkKey(k *OwnedKey) error {
	if k == nil {
		return nil
	}
	var method, organization error
	if !i.supports(MethodAPIKey) {
		method = invalid("api_key", `needs "api_key" among auth_methods`)
	}
	if i.Ownership == OwnedByOrganization || k.OrganizationID != "" {
		organization = checkID("api_key.organization_id", k.OrganizationID)
	}
	return gather(method, checkSecret("api_key.secret", k.Secret, minOwnedKey), checkID("api_key.user_id", k.UserID), organization)
}

// installOwned is the change that a key makes which came with its integration: none without one.
//
// Attacker: an administrator of integrations who may not touch accounts, or not this organization's, and puts a key of
// his own in the place of a user's, so that the application hands him what is that user's. Defence: it takes what
// [Broker.InstallAPIKey] does, too.
func (o *operation) installOwned(ctx context.Context, i *Integration, k *OwnedKey) (Change, *Account, error) {
	if k == nil {
		return Change{}, nil, nil
	}
	r := Request{Slug: i.Slug, UserID: k.UserID, OrganizationID: k.OrganizationID, ConnectionOwner: i.Ownership}
	owner, err := r.owner()
	if err != nil {
		return Change{}, nil, err
	}
	kctx, err := owner.keyContext()
	if err != nil {
		return Change{}, nil, err
	}
	if err := o.alsoMay(access.AccountsManage, i.Slug, kctx); err != nil {
		return Change{}, nil, err
	}
	o.about(i.Slug, owner, k.UserID)
	s, err := o.findSlot(ctx, i, owner)
	if err == nil {
		s, err = s.target(&r, "", MethodAPIKey)
	}
	if err != nil {
		return Change{}, nil, err
	}
	if i, err = o.broker.integrationFor(ctx, i, owner); err != nil {
		return Change{}, nil, err
	}
	config, err := o.broker.configFor(i, s.account.Record, nil, MethodAPIKey, false)
	if err != nil {
		return Change{}, nil, err
	}
	got, err := o.keyArrival(ctx, i, s, k.Secret, config)
	if err != nil {
		return Change{}, nil, err
	}
	return o.arrive(ctx, s, got, false)
}
