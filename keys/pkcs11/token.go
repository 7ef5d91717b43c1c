//go:build pkcs11

package pkcs11

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"

	"culvert/keys"
)

// The form of a wrapped share.
const (
	format      = 1
	nonceSize   = 12
	tagSize     = 16
	wrappedSize = 1 + nonceSize + keys.ShareSize + tagSize
)

// token is a connection: a module that is loaded, logged in to, and has shown that its key works. Its
// methods block for as long as the module does. It is safe for concurrent use, but for close.
type token struct {
	context *crypto11.Context
	aead    cipher.AEAD
	// probe is a share of zeros, sealed when this connection was made.
	probe []byte
}

// connect loads the module, logs in, and finds and tries the key. probe, unless it is nil, was sealed under
// the key of an earlier connection, which has to be this one's.
func connect(c Config, probe []byte) (*token, error) {
	context, err := configure(c)
	if err != nil {
		return nil, err
	}
	t := &token{context: context}
	if err = t.find(c); err == nil {
		err = t.prove(probe)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// configure finds the token and logs in. crypto11 panics if the token has too few sessions.
func configure(c Config) (context *crypto11.Context, err error) {
	if _, err := os.Stat(c.Module); errors.Is(err, fs.ErrNotExist) {
		return nil, mistake("there is no module " + c.Module)
	}
	defer recovered(&err)
	context, err = crypto11.Configure(&crypto11.Config{
		Path: c.Module, TokenLabel: c.Token, Pin: string(c.PIN.Reveal()), GCMIVLength: nonceSize,
		// One more than calls: crypto11 keeps one open, so that it stays logged in.
		MaxSessions: maxCalls + 1, PoolWaitTimeout: callTimeout,
	})
	switch {
	case err == nil:
		return context, nil
	case isRefused(err):
		return nil, failed("log in to token "+c.Token, err)
	case strings.HasPrefix(err.Error(), "could not find PKCS#11 token"): // it has no other mark
		return nil, down("open", fmt.Errorf("the module has no token %s", c.Token))
	case strings.Contains(err.Error(), "failed to open module"): // nor this
		return nil, mistake(c.Module + " is not a PKCS#11 module that can be loaded")
	}
	return nil, failed("open", err)
}

// find looks for the key, and at what it may be used for.
func (t *token) find(c Config) error {
	op := "find key " + c.Key
	attributes := crypto11.NewAttributeSet()
	if err := errors.Join(
		attributes.Set(crypto11.CkaLabel, c.Key),
		attributes.Set(crypto11.CkaToken, true),
		attributes.Set(crypto11.CkaKeyType, uint(pkcs11.CKK_AES)),
	); err != nil {
		return failed(op, err)
	}
	found, err := t.context.FindKeysWithAttributes(attributes)
	switch {
	case err != nil:
		return failed(op, err)
	case len(found) == 0:
		return refused(op, fmt.Errorf("token %s has no AES key of that label", c.Token))
	case len(found) > 1:
		return refused(op, fmt.Errorf("token %s has %d AES keys of that label", c.Token, len(found)))
	}
	if err := t.inspect(found[0]); err != nil {
		return failed(op, err)
	}
	if t.aead, err = found[0].NewGCM(); err != nil {
		return failed(op, err)
	}
	return nil
}

// inspect refuses a key that somebody could read out of the token, and one that is too short.
func (t *token) inspect(key *crypto11.SecretKey) error {
	for _, wanted := range []struct {
		attribute crypto11.AttributeType
		is        func([]byte) bool
		why       string
	}{
		{crypto11.CkaSensitive, isTrue, "it is not sensitive (CKA_SENSITIVE), so it could be read out of the token"},
		{crypto11.CkaExtractable, isFalse, "it is extractable (CKA_EXTRACTABLE), so it could be taken out of the token"},
		{crypto11.CkaValueLen, isKeySize, "it is not of 256 bits"},
	} {
		got, err := t.context.GetAttribute(key, wanted.attribute)
		switch {
		case err != nil:
			return err
		case got == nil || !wanted.is(got.Value):
			return refused("look at the key", errors.New(wanted.why))
		}
	}
	return nil
}

func isTrue(value []byte) bool  { return len(value) == 1 && value[0] != 0 }
func isFalse(value []byte) bool { return len(value) == 1 && value[0] == 0 }

// isKeySize reads a CK_ULONG, which is in the machine's own order: a size below 256 looks alike in both.
func isKeySize(value []byte) bool {
	return bytes.Equal(bytes.Trim(value, "\x00"), []byte{keys.ShareSize})
}

// prove makes the probe of this connection, and opens it and that of an earlier one.
func (t *token) prove(earlier []byte) (err error) {
	if t.probe, err = t.seal(make([]byte, keys.ShareSize), probeBinding()); err != nil {
		return failed("try the key", err)
	}
	if err := t.check(); err != nil {
		return failed("try the key", err)
	}
	if earlier == nil {
		return nil
	}
	switch _, err := t.open(earlier, probeBinding()); {
	case isVague(err):
		return refused("try the key", errors.New("there is another key of the same label in the place of the first"))
	case err != nil:
		return failed("try the key", err)
	}
	return nil
}

func probeBinding() []byte {
	return keys.Binding{KEK: "readiness", Slot: keys.RootSlot}.AssociatedData()
}

// check tells whether the token still opens what it sealed.
func (t *token) check() error {
	share, err := t.open(t.probe, probeBinding())
	switch {
	case err == nil && bytes.Equal(share, make([]byte, keys.ShareSize)):
		return nil
	case err == nil, isVague(err):
		return errDead
	}
	return err
}

// wrap is seal, for a token that may be dead.
func (t *token) wrap(share, associated []byte) ([]byte, error) {
	wrapped, err := t.seal(share, associated)
	if isVague(err) {
		if dead := t.check(); dead != nil {
			return nil, dead
		}
	}
	return wrapped, err
}

// unwrap is open, for bytes that may be anything and a token that may be dead: the bytes are to blame only
// if they fail on both sides of a probe that opens.
func (t *token) unwrap(wrapped, associated []byte) ([]byte, error) {
	share, err := t.open(wrapped, associated)
	if !isVague(err) {
		return share, err
	}
	if dead := t.check(); dead != nil {
		return nil, dead
	}
	share, err = t.open(wrapped, associated)
	if isVague(err) {
		return nil, keys.ErrTampered
	}
	return share, err
}

// seal encrypts 32 bytes under a fresh nonce. crypto11 panics where it fails, because a cipher.AEAD cannot.
func (t *token) seal(share, associated []byte) (wrapped []byte, err error) {
	defer recovered(&err)
	wrapped = make([]byte, 1+nonceSize, wrappedSize)
	wrapped[0] = format
	_, _ = rand.Read(wrapped[1:]) // never fails: it ends the process rather than return less
	wrapped = t.aead.Seal(wrapped, wrapped[1:], share, associated)
	if len(wrapped) != wrappedSize {
		return nil, fmt.Errorf("%w: it sealed to %d bytes", errDead, len(wrapped))
	}
	return wrapped, nil
}

// open is the reverse, for bytes of the right form.
func (t *token) open(wrapped, associated []byte) (share []byte, err error) {
	defer recovered(&err)
	return t.aead.Open(nil, wrapped[1:1+nonceSize], wrapped[1+nonceSize:], associated)
}

// recovered makes an error of what crypto11 panics with.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case error:
		*err = r
	default:
		*err = fmt.Errorf("crypto11 gave up (%T)", r)
	}
}

// close ends the sessions, and unloads the module unless another key uses it. No call may be under way.
func (t *token) close() { _ = t.context.Close() } // it never fails
