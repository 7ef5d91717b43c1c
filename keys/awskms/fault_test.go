package awskms_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/internal/secret"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
)

// uses are all calls of a key that touch a share.
func uses(key, other *awskms.Key, share secret.Bytes, wrapped []byte) map[string]func(context.Context) error {
	b := keystest.TestBinding()
	return map[string]func(context.Context) error{
		"Encrypt":   func(ctx context.Context) error { _, err := key.Wrap(ctx, share, b); return err },
		"Decrypt":   func(ctx context.Context) error { _, err := key.Unwrap(ctx, wrapped, b); return err },
		"ReEncrypt": func(ctx context.Context) error { _, err := keys.Rewrap(ctx, key, other, wrapped, b); return err },
	}
}

// mustHide wants nothing of the share, nor of anything that was sent, in an error. The fake puts both into
// every message.
func mustHide(t testing.TB, what string, err error, share secret.Bytes) {
	t.Helper()
	plain := share.Reveal()
	for _, text := range []string{fmt.Sprint(err), fmt.Sprintf("%+v %#v", err, err)} {
		for _, form := range []string{
			string(plain), hex.EncodeToString(plain), base64.StdEncoding.EncodeToString(plain), "validation error", "EncryptionContext",
		} {
			if strings.Contains(text, form) {
				t.Errorf("%s: the error repeats %q", what, form)
			}
		}
	}
}

func isOutage(err error) bool {
	o := outage.Of(err)
	return o != nil && o.Dependency == outage.RootKey && !errors.Is(err, keys.ErrRefused) && !errors.Is(err, keys.ErrTampered)
}

func isRefused(err error) bool  { return errors.Is(err, keys.ErrRefused) && outage.Of(err) == nil }
func isTampered(err error) bool { return errors.Is(err, keys.ErrTampered) && outage.Of(err) == nil }

func TestErrorsHaveTheirKind(t *testing.T) {
	fake, arn, key := start(t)
	other := mustOpen(t, fake, fake.NewKey(t, keystest.AWSAccount))
	share := keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	denied := func(string) { fake.Policy(arn, func(string, map[string]string) bool { return false }) }
	allowed := func(string) { fake.Policy(arn, func(string, map[string]string) bool { return true }) }
	code := func(code string, status int) func(string) {
		return func(op string) { fake.Fail(op, keystest.Fault{Code: code, Status: status}) }
	}
	well := func(op string) { fake.Fail(op, keystest.Fault{}) }
	for name, tc := range map[string]struct {
		begin, end func(string)
		is         func(error) bool
		calls      int
	}{
		"disabled":            {func(string) { fake.Disable(arn) }, func(string) { fake.Enable(arn) }, isRefused, 1},
		"pending deletion":    {func(string) { fake.ScheduleDeletion(arn) }, func(string) { fake.Enable(arn) }, isRefused, 1},
		"denied by policy":    {denied, allowed, isRefused, 1},
		"not found":           {code("NotFoundException", 400), well, isRefused, 1},
		"of another usage":    {code("InvalidKeyUsageException", 400), well, isRefused, 1},
		"invalid ciphertext":  {code("InvalidCiphertextException", 400), well, isTampered, 1},
		"of another key":      {code("IncorrectKeyException", 400), well, isTampered, 1},
		"throttled":           {code("ThrottlingException", 400), well, isOutage, 3},
		"an internal error":   {code("KMSInternalException", 500), well, isOutage, 3},
		"key store down":      {code("KeyUnavailableException", 500), well, isOutage, 3},
		"a timeout of theirs": {code("DependencyTimeoutException", 503), well, isOutage, 3},
		"a bad gateway":       {code("", http.StatusBadGateway), well, isOutage, 3},
		"an unknown error":    {code("Plaintext is too secret", 400), well, isOutage, 1},
		"an invalid request":  {code("ValidationException", 400), well, isOutage, 1},
		"bad credentials":     {code("ExpiredTokenException", 400), well, isOutage, 1},
		"no answer": {
			func(op string) { fake.Fail(op, keystest.Fault{Drop: true}) }, well, isOutage, 3,
		},
		"no JSON members": {
			func(op string) { fake.Fail(op, keystest.Fault{Edit: func(m map[string]any) { clear(m) }}) }, well,
			func(err error) bool { return isOutage(err) || isTampered(err) }, 1,
		},
	} {
		for op, use := range uses(key, other, share, wrapped) {
			if tc.calls > 1 && op != "Decrypt" && name != "throttled" {
				continue // the SDK waits between its attempts, and one operation is as good as another
			}
			tc.begin(op)
			before := fake.Calls(op)
			err := use(t.Context())
			if !tc.is(err) {
				t.Errorf("%s, %s: %v (%T)", op, name, err, err)
			}
			if n := fake.Calls(op) - before; n != tc.calls {
				t.Errorf("%s, %s: %d calls, want %d", op, name, n, tc.calls)
			}
			mustHide(t, op+", "+name, err, share)
			tc.end(op)
			if err := use(t.Context()); err != nil {
				t.Errorf("%s after %s: %v", op, name, err)
			}
		}
	}
}

func TestMomentaryFaultsAreRetried(t *testing.T) {
	fake, _, key := start(t)
	share := keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]keystest.Fault{
		"throttled":      {Code: "ThrottlingException", Status: 400, Times: 2},
		"internal error": {Code: "KMSInternalException", Status: 500, Times: 2},
		"unavailable":    {Code: "KeyUnavailableException", Status: 500, Times: 2},
		"dropped":        {Drop: true, Times: 2},
	} {
		for op, use := range uses(key, key, share, wrapped) {
			if op != "Decrypt" && name != "throttled" {
				continue // as above
			}
			fake.Fail(op, f)
			if err := use(t.Context()); err != nil {
				t.Errorf("%s, twice %s: %v", op, name, err)
			}
		}
	}
}

func TestSlowKMSIsGivenUp(t *testing.T) {
	fake, _, key := start(t)
	share := keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	fake.Fail("", keystest.Fault{Latency: time.Hour})
	for op, use := range uses(key, key, share, wrapped) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := use(ctx); !isOutage(err) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want an outage", op, err)
		}
		cancel()
	}
	// Case: a caller without a deadline, and a KMS that is slow once.
	began := time.Now()
	if _, err := key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); !isOutage(err) {
		t.Errorf("no deadline: %v, want an outage", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("no deadline: given up after %v", took)
	}
	fake.Fail("", keystest.Fault{Latency: time.Hour, Times: 1})
	if _, err := key.Unwrap(t.Context(), wrapped, keystest.TestBinding()); err != nil {
		t.Errorf("slow once: %v", err)
	}
}

// Whoever answers for the KMS cannot have a share sent on to somebody else.
func TestRedirectsAreNotFollowed(t *testing.T) {
	fake, _, key := start(t)
	elsewhere := keystest.NewAWS(t)
	fake.Fail("Encrypt", keystest.Fault{Redirect: elsewhere.Endpoint()})
	b, share := keystest.TestBinding(), keystest.NewShare()
	if _, err := key.Wrap(t.Context(), share, b); !isOutage(err) {
		t.Errorf("redirected: %v, want an outage", err)
	}
	if n := elsewhere.Calls(""); n != 0 {
		t.Errorf("%d requests went where the redirect leads", n)
	}
	fake.Fail("Encrypt", keystest.Fault{})
	if _, err := key.Wrap(t.Context(), share, b); err != nil {
		t.Errorf("not redirected: %v", err)
	}
}

func TestKMSThatIsNotThere(t *testing.T) {
	keystest.SetAWSCredentials(t)
	arn := "arn:aws:kms:eu-central-1:111122223333:key/x"
	_, err := awskms.Open(t.Context(), awskms.Config{Key: arn, Endpoint: "http://127.0.0.1:1"})
	if !isOutage(err) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v, want an outage that says so", err)
	}
}

// A KMS, or who stands in its place, that answers what nobody asked.
func TestWrongAnswersAreRefused(t *testing.T) {
	fake, arn, key := start(t)
	other := fake.NewKey(t, keystest.AWSAccount)
	share := keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, keystest.TestBinding())
	if err != nil {
		t.Fatal(err)
	}
	member := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	all := uses(key, mustOpen(t, fake, fake.NewKey(t, keystest.AWSAccount)), share, wrapped)
	for _, tc := range []struct {
		op   string
		edit func(map[string]any)
		is   func(error) bool
	}{
		{"Encrypt", member("KeyId", other), isOutage},
		{"Encrypt", member("CiphertextBlob", []byte{}), isOutage},
		{"Encrypt", member("CiphertextBlob", share.Reveal()), isOutage},
		{"Encrypt", member("CiphertextBlob", make([]byte, 8<<10)), isOutage},
		{"Decrypt", member("KeyId", other), isTampered},
		{"Decrypt", member("KeyId", nil), isTampered},
		{"Decrypt", member("Plaintext", make([]byte, 31)), isTampered},
		{"Decrypt", member("Plaintext", make([]byte, 33)), isTampered},
		{"Decrypt", member("Plaintext", nil), isTampered},
		{"Decrypt", member("Plaintext", 7), isOutage},
		{"Decrypt", member("Plaintext", make([]byte, 1<<20)), isOutage},
		{"ReEncrypt", member("KeyId", arn), isOutage},
		{"ReEncrypt", member("SourceKeyId", other), isOutage},
		{"ReEncrypt", member("CiphertextBlob", nil), isOutage},
	} {
		fake.Fail(tc.op, keystest.Fault{Edit: tc.edit})
		err := all[tc.op](t.Context())
		if !tc.is(err) {
			t.Errorf("%s with another answer: %v (%T)", tc.op, err, err)
		}
		mustHide(t, tc.op, err, share)
		fake.Fail(tc.op, keystest.Fault{})
		if err := all[tc.op](t.Context()); err != nil {
			t.Errorf("%s: %v", tc.op, err)
		}
	}
	for _, edit := range []func(map[string]any){
		member("Arn", other), member("Arn", "x"), member("KeySpec", "RSA_2048"), member("KeyUsage", "SIGN_VERIFY"),
	} {
		fake.Fail("DescribeKey", keystest.Fault{Edit: func(m map[string]any) { edit(m["KeyMetadata"].(map[string]any)) }})
		if _, err := awskms.Open(t.Context(), awskms.Config{Key: arn, Endpoint: fake.Endpoint()}); err == nil {
			t.Error("a key was opened that is another or of another kind")
		}
	}
	fake.Fail("DescribeKey", keystest.Fault{})
	mustOpen(t, fake, arn)
}
