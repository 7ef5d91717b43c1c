//go:build pkcs11

package pkcs11_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/keystest"
	"culvert/keys/pkcs11"
)

// faulty is SoftHSM behind a module with faults. See testdata/faulty.c.
type faulty struct {
	t     *testing.T
	hsm   *keystest.SoftHSM
	calls string
	key   *pkcs11.Key
}

// Return values as the faulty module takes them, in hex.
const (
	generalError   = "5"
	deviceRemoved  = "32"
	sessionInvalid = "b3"
	notLoggedIn    = "101"
	deviceMemory   = "31"
	pinLocked      = "a4"
	vendorsOwn     = "80000123"
	hang           = "hang"
)

// startFaulty opens the key "root" through the faulty module.
func startFaulty(t *testing.T) *faulty {
	t.Helper()
	hsm := start(t)
	hsm.NewKey(t, token, "root", nil)
	dir := t.TempDir()
	module := filepath.Join(dir, "faulty.so")
	headers, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		t.Fatal(err)
	}
	cc := exec.Command("cc", "-shared", "-fPIC", "-Wall", "-Werror", "-I", strings.TrimSpace(string(headers)),
		"-o", module, "testdata/faulty.c", "-ldl")
	if out, err := cc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f := &faulty{t: t, hsm: hsm, calls: filepath.Join(dir, "calls")}
	t.Setenv("FAULTY_MODULE", hsm.Module)
	t.Setenv("FAULTY_CALLS", f.calls)
	c := config(hsm, "root")
	c.Module = module
	f.key = mustOpen(t, c)
	f.key.SetTimeout(time.Minute)
	t.Cleanup(f.well) // before the key is closed, which waits for calls that hang
	return f
}

// fail makes functions fail until well is called: names and values in turn.
func (f *faulty) fail(faults ...string) { f.write(f.calls, faults) }

// failOnce is fail for as long as the module stays loaded.
func (f *faulty) failOnce(faults ...string) { f.write(f.calls+".session", faults) }

func (f *faulty) write(path string, faults []string) {
	f.t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(strings.Join(faults, " ")), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		f.t.Fatal(err)
	}
}

func (f *faulty) well() { f.fail() }

// logins counts the logins there were.
func (f *faulty) logins() int {
	text, err := os.ReadFile(f.calls + ".logins")
	if err != nil {
		f.t.Fatal(err)
	}
	return len(text)
}

func (f *faulty) mustWork(wrapped []byte, share secret.Bytes) {
	f.t.Helper()
	if got, err := f.key.Unwrap(f.t.Context(), wrapped, keystest.TestBinding()); err != nil || !got.Equal(share) {
		f.t.Errorf("unwrap: %v", err)
	}
	if _, err := f.key.Wrap(f.t.Context(), share, keystest.TestBinding()); err != nil {
		f.t.Errorf("wrap: %v", err)
	}
	if err := f.key.Check(f.t.Context()); err != nil {
		f.t.Errorf("check: %v", err)
	}
}

func (f *faulty) mustWrap() ([]byte, secret.Bytes) {
	f.t.Helper()
	share := keystest.NewShare()
	wrapped, err := f.key.Wrap(f.t.Context(), share, keystest.TestBinding())
	if err != nil {
		f.t.Fatal(err)
	}
	return wrapped, share
}

// A token that fails at everything has tampered with nothing, however vague its words.
func TestDeadTokenIsAnOutage(t *testing.T) {
	f := startFaulty(t)
	wrapped, share := f.mustWrap()
	for _, fault := range []string{generalError, "6", "40", "41", "20", deviceRemoved, sessionInvalid, notLoggedIn, deviceMemory, vendorsOwn} {
		f.fail("C_Decrypt", fault, "C_Encrypt", fault)
		_, err := f.key.Unwrap(t.Context(), wrapped, keystest.TestBinding())
		if !isOutage(err) || errors.Is(err, keys.ErrTampered) {
			t.Errorf("unwrap while all calls return %s: %v", fault, err)
		}
		if _, err := f.key.Wrap(t.Context(), share, keystest.TestBinding()); !isOutage(err) {
			t.Errorf("wrap while all calls return %s: %v", fault, err)
		}
		if err := f.key.Check(t.Context()); !isOutage(err) {
			t.Errorf("check while all calls return %s: %v", fault, err)
		}
		if _, err := f.key.Describe(t.Context()); !isOutage(err) {
			t.Errorf("describe while all calls return %s: %v", fault, err)
		}
		f.well()
		f.mustWork(wrapped, share)
		wrapped[20] ^= 1
		if _, err := f.key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); !errors.Is(err, keys.ErrTampered) {
			t.Errorf("an edited share after %s: %v, want %v", fault, err, keys.ErrTampered)
		}
		wrapped[20] ^= 1
	}
}

// An HSM that was restarted, or unplugged and plugged in again, costs no caller an error, and all of them
// one connection.
func TestLostConnectionHeals(t *testing.T) {
	f := startFaulty(t)
	wrapped, share := f.mustWrap()
	for i, fault := range []string{sessionInvalid, deviceRemoved, notLoggedIn, generalError} {
		f.fail("C_Decrypt", hang)
		var work sync.WaitGroup
		for range pkcs11.MaxCalls {
			work.Go(func() { f.mustWork(wrapped, share) })
		}
		within(t, "the calls are not under way", func() bool { return f.key.Calls() == pkcs11.MaxCalls })
		f.failOnce("C_Decrypt", fault, "C_Encrypt", fault, "C_OpenSession", fault)
		f.well()
		work.Wait()
		if n, want := f.logins(), 2+i; n != want {
			t.Errorf("after %s: %d logins, want %d", fault, n, want)
		}
	}
}

func TestTokenThatIsGone(t *testing.T) {
	f := startFaulty(t)
	wrapped, share := f.mustWrap()
	f.failOnce("C_Decrypt", deviceRemoved)
	f.fail("C_Initialize", deviceMemory)
	for range 3 {
		if _, err := f.key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); !isOutage(err) || !strings.Contains(err.Error(), "CKR_DEVICE_MEMORY") {
			t.Errorf("while it is gone: %v, want an outage that says why", err)
		}
	}
	f.well()
	f.mustWork(wrapped, share)
}

// Tokens lock themselves after a few wrong PINs, and readiness asks every second.
func TestRefusedPINIsNotTriedAgain(t *testing.T) {
	f := startFaulty(t)
	f.failOnce("C_Decrypt", sessionInvalid)
	f.fail("C_Login", pinLocked)
	for range 5 {
		if err := f.key.Check(t.Context()); !isRefused(err) || !strings.Contains(err.Error(), "CKR_PIN_LOCKED") {
			t.Errorf("check: %v, want a refusal that says why", err)
		}
	}
	if n := f.logins(); n != 2 {
		t.Errorf("%d logins, want that of the start and one more", n)
	}
	if d, err := f.key.Describe(t.Context()); err != nil || d.State != keys.KeyUnavailable {
		t.Errorf("described as %+v, %v", d, err)
	}
}

// A key that was deleted refuses, and so does another that has got its label.
func TestReplacedKeyIsRefused(t *testing.T) {
	hsm := start(t)
	hsm.NewKey(t, token, "root", nil)
	key := mustOpen(t, config(hsm, "root"))
	wrapped, err := key.Wrap(t.Context(), keystest.NewShare(), keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	hsm.DeleteKeys(t, token, "root")
	if _, err := key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); !isRefused(err) || !strings.Contains(err.Error(), "no AES key of that label") {
		t.Errorf("deleted: %v, want a refusal", err)
	}
	hsm.NewKey(t, token, "root", nil)
	if _, err := key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); !isRefused(err) || !strings.Contains(err.Error(), "another key of the same label") {
		t.Errorf("replaced: %v, want a refusal", err)
	}
	// Case: who starts now takes it for the key there is, and what it has not wrapped for tampered with.
	if _, err := mustOpen(t, config(hsm, "root")).Unwrap(t.Context(), wrapped, keystest.TestBinding()); !errors.Is(err, keys.ErrTampered) {
		t.Errorf("after a restart: %v, want %v", err, keys.ErrTampered)
	}
}

// Calls that do not come back hold up nobody longer than he wants to wait, and do not pile up.
func TestHangingCalls(t *testing.T) {
	f := startFaulty(t)
	wrapped, share := f.mustWrap()
	f.fail("C_Decrypt", hang)
	unwrap := func(ctx context.Context, want error) {
		if _, err := f.key.Unwrap(ctx, wrapped, keystest.TestBinding()); !isOutage(err) || !errors.Is(err, want) {
			t.Errorf("unwrap: %v, want an outage by %v", err, want)
		}
	}
	patient, giveUp := context.WithCancel(t.Context())
	var first, more sync.WaitGroup
	for range pkcs11.MaxCalls {
		first.Go(func() { unwrap(patient, context.Canceled) })
	}
	within(t, "the first calls are not under way", func() bool { return f.key.Calls() == pkcs11.MaxCalls })
	for range 50 {
		more.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			unwrap(ctx, context.DeadlineExceeded)
		})
	}
	more.Wait()
	giveUp()
	first.Wait()
	if n := f.key.Calls(); n != pkcs11.MaxCalls {
		t.Errorf("%d calls are under way, want %d", n, pkcs11.MaxCalls)
	}
	f.well()
	within(t, "the calls do not come back", func() bool { return f.key.Calls() == 0 })
	f.mustWork(wrapped, share)
}

// within waits for what has to become true.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// A module that hangs when it is loaded must not hang the start.
func TestHangingStart(t *testing.T) {
	f := startFaulty(t)
	f.fail("C_Login", hang)
	f.failOnce("C_Decrypt", deviceRemoved)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := f.key.Check(ctx); !isOutage(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("check while the login hangs: %v", err)
	}
	f.well()
	if err := f.key.Check(t.Context()); err != nil { // it goes on where it was left
		t.Errorf("check: %v", err)
	}
	if n := f.logins(); n != 2 {
		t.Errorf("%d logins, want 2", n)
	}
}

func TestClosedKey(t *testing.T) {
	hsm := start(t)
	hsm.NewKey(t, token, "root", nil)
	key := mustOpen(t, config(hsm, "root"))
	key.Close()
	if err := key.Check(t.Context()); !isOutage(err) {
		t.Errorf("check of a closed key: %v, want an outage", err)
	}
	key.Close()
}
