package pipes

import (
	"context"
	"errors"
)

// MaxConnections bounds how many accounts an owner has at one provider: all of them are read with each
// request that is about one.
const MaxConnections = 100

// further is the slot with no account, for one more: the compatibility slot if that is free, else a standard
// connection. Nothing that is there changes. [ErrTooManyConnections].
func (s slot) further() (slot, error) {
	n := len(s.standard)
	if s.account.Record != nil {
		n++
	}
	if n >= MaxConnections {
		return slot{}, ErrTooManyConnections
	}
	s.beside = s.account.Record != nil
	s.account = At[Account]{}
	return s, nil
}

// aimed is the slot with the account that a flow is for, or with none for a new one.
func (s slot) aimed(intent Intent, id AccountID) (slot, error) {
	if intent == IntentAdd {
		return s.further()
	}
	if intent == "" && id == "" {
		return s, nil
	}
	found, err := s.choose(&Request{AccountID: id, Plural: true})
	s.account = found
	return s, err
}

// aim is aimed for a flow on its way back. Its account was chosen when it began: one that was connected
// meanwhile is not taken for it.
func (l *leg) aim(ctx context.Context, got arrival) (slot, error) {
	s, err := l.findSlot(ctx, got.integration, got.owner)
	if err != nil {
		return slot{}, err
	}
	return s.aimed(l.flow.Record.Intent, l.flow.Record.Account)
}

// imported refuses to add an account with the tokens of one that the owner has: the caller has repeated a
// request whose answer was lost. Refresh tokens are told apart by their keyed hashes in any case
// ([ErrTokenInUse]), so this is about access tokens that came alone.
func (o *operation) imported(ctx context.Context, all []At[Account], t *AccountTokens) error {
	if t.AccessToken.Len() == 0 || t.RefreshToken.Len() > 0 {
		return nil
	}
	for _, found := range all {
		a := found.Record
		if a.Method != MethodOAuth || a.Grant == "" {
			continue
		}
		g, err := o.broker.grant(ctx, o.Environment(), a.Grant)
		if err != nil {
			return err
		}
		if g.Record.Refreshable {
			continue
		}
		tokens, err := o.openGrant(ctx, g.Record)
		if err != nil {
			return err
		}
		if tokens.Access.Equal(t.AccessToken) {
			return ErrAccountExists
		}
	}
	return nil
}

// all are an owner's accounts.
func (s *slot) all() []At[Account] {
	if s.account.Record == nil {
		return s.standard
	}
	return append([]At[Account]{s.account}, s.standard...)
}

// removedMeanwhile is why a flow connects nothing whose account is gone.
func removedMeanwhile(err error) (why failure, definite bool) {
	switch {
	case errors.Is(err, ErrNoAccount):
		return failure{code: CodeAccountRemoved, reason: "the account that was to be connected again was disconnected meanwhile"}, true
	case errors.Is(err, ErrTooManyConnections):
		return failure{code: CodeTooManyConnections, reason: "the owner has as many accounts at this provider as there can be"}, true
	}
	return failure{}, false
}
