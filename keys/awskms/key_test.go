package awskms_test

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
)

// mustOpen opens a key of the fake through the SDK.
func mustOpen(t testing.TB, fake *keystest.AWS, arn string) *awskms.Key {
	t.Helper()
	key, err := awskms.Open(t.Context(), awskms.Config{Key: arn, Endpoint: fake.Endpoint()})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// start makes a fake with one key, and opens it.
func start(t testing.TB) (*keystest.AWS, string, *awskms.Key) {
	t.Helper()
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	arn := fake.NewKey(t, keystest.AWSAccount)
	return fake, arn, mustOpen(t, fake, arn)
}

func TestRootKey(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	keystest.RunRootKeyTests(t, func(t *testing.T) keys.RootKey {
		return mustOpen(t, fake, fake.NewKey(t, keystest.AWSAccount))
	})
}

// The twin of every fault below: a key of another account is as good as one of ours.
func TestKeyOfAnotherAccount(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	keystest.RunRootKeyTests(t, func(t *testing.T) keys.RootKey {
		return mustOpen(t, fake, fake.NewKey(t, "999988887777"))
	})
}

func TestAliasIsResolvedOnce(t *testing.T) {
	fake, arn, _ := start(t)
	alias := fake.Alias("culvert/root", arn)
	key := mustOpen(t, fake, alias)
	if key.URI() != "awskms:"+arn {
		t.Errorf("URI = %s, want that of the key", key.URI())
	}
	b, share := keystest.TestBinding(), keystest.NewShare()
	wrapped, err := key.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	fake.Alias("culvert/root", fake.NewKey(t, keystest.AWSAccount))
	if got, err := key.Unwrap(t.Context(), wrapped, b); err != nil || !got.Equal(share) {
		t.Errorf("after the alias went elsewhere: %v", err)
	}
}

// A key policy sees the binding by its names, so that a customer can allow his own items alone.
func TestPolicySeesTheBinding(t *testing.T) {
	fake, arn, key := start(t)
	b, share := keystest.TestBinding(), keystest.NewShare()
	var seen map[string]string
	fake.Policy(arn, func(_ string, encryptionContext map[string]string) bool {
		seen = encryptionContext
		return encryptionContext["organization_id"] == "org_1"
	})
	wrapped, err := key.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"culvert:env": string(b.Environment), "culvert:kek": b.KEK, "culvert:context": b.ContextDigest,
		"culvert:slot": b.Slot, "organization_id": "org_1", "größe": "ẑ", "empty": "",
	}
	for name, value := range want {
		if got, ok := seen[name]; !ok || got != value {
			t.Errorf("encryption context: %s = %q, want %q", name, got, value)
		}
	}
	if len(seen) != len(want) {
		t.Errorf("encryption context: %d pairs, want %d", len(seen), len(want))
	}
	b.Items = nil
	if _, err := key.Unwrap(t.Context(), wrapped, b); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("without the item: %v, want %v", err, keys.ErrRefused)
	}
	b.Items = map[string]string{"organization_id": "org_1", "culvert:kek": "another"}
	if _, err := key.Wrap(t.Context(), share, b); err != nil || seen["culvert:kek"] != b.KEK {
		t.Errorf("an item took the place of the key id: %q, %v", seen["culvert:kek"], err)
	}
}

func TestRewrapStaysInTheKMS(t *testing.T) {
	fake, arn, from := start(t)
	to := mustOpen(t, fake, fake.NewKey(t, "999988887777"))
	b, share := keystest.TestBinding(), keystest.NewShare()
	wrapped, err := from.Wrap(t.Context(), share, b)
	if err != nil {
		t.Fatal(err)
	}
	fake.Rotate(t, arn) // what was wrapped before still opens
	moved, err := keys.Rewrap(t.Context(), from, to, wrapped, b)
	if err != nil {
		t.Fatal(err)
	}
	if n, m := fake.Calls("ReEncrypt"), fake.Calls("Decrypt"); n != 1 || m != 0 {
		t.Errorf("%d ReEncrypt and %d Decrypt, want 1 and 0", n, m)
	}
	// Case: another KMS, which knows nothing of the first one's keys.
	elsewhere := keystest.NewAWS(t)
	there := mustOpen(t, elsewhere, elsewhere.NewKey(t, keystest.AWSAccount))
	moved, err = keys.Rewrap(t.Context(), to, there, moved, b)
	if err != nil {
		t.Fatal(err)
	}
	if n := elsewhere.Calls("ReEncrypt"); n != 0 {
		t.Errorf("%d ReEncrypt at a KMS that cannot", n)
	}
	if got, err := there.Unwrap(t.Context(), moved, b); err != nil || !got.Equal(share) {
		t.Errorf("unwrap after two moves: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	fake, arn, key := start(t)
	for _, tc := range []struct {
		do   func(string)
		want keys.KeyState
	}{
		{func(string) {}, keys.KeyEnabled}, {fake.Disable, keys.KeyDisabled},
		{fake.ScheduleDeletion, keys.KeyPendingDeletion}, {fake.Enable, keys.KeyEnabled},
	} {
		tc.do(arn)
		d, err := key.Describe(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		pending := tc.want == keys.KeyPendingDeletion
		if d.State != tc.want || d.CreatedAt.IsZero() || d.DeletedFrom.IsZero() == pending || d.Rotation == nil || d.Provider != "awskms" {
			t.Errorf("described as %+v, want %s", d, tc.want)
		}
		if again := mustOpen(t, fake, arn); again.URI() != key.URI() { // it opens all the same
			t.Errorf("URI %s became %s", key.URI(), again.URI())
		}
	}
	fake.Policy(arn, func(op string, _ map[string]string) bool { return op != "GetKeyRotationStatus" })
	if d, err := key.Describe(t.Context()); err != nil || d.Rotation != nil {
		t.Errorf("without the permission: %+v, %v; want nothing of rotation", d, err)
	}
}

func TestCheckAsksNowAndThen(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	arn, now := fake.NewKey(t, keystest.AWSAccount), time.Unix(1e9, 0)
	key, err := awskms.Open(t.Context(), awskms.Config{
		Key: arn, Endpoint: fake.Endpoint(), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := key.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := fake.Calls("Encrypt") + fake.Calls("Decrypt"); n != 2 {
		t.Errorf("%d calls for a hundred checks at one moment, want 2", n)
	}
	fake.Disable(arn)
	now = now.Add(time.Minute)
	if err := key.Check(t.Context()); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("disabled: %v, want %v", err, keys.ErrRefused)
	}
	fake.Enable(arn)
	if err := key.Check(t.Context()); err != nil { // a failure is not remembered
		t.Errorf("enabled: %v", err)
	}
}

// A thousand cold readers cost one call, warm ones none.
func TestCallsPerRead(t *testing.T) {
	fake, _, key := start(t)
	s := keystest.New(t)
	b := keys.ObjectBinding{ObjectID: "o", Name: "n", VersionID: "v", Sequence: 1}
	c := keystest.MustContext(t, "organization_id", "org_1")
	s.Keys = s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(key)})
	sealed := s.MustSeal(t, c, b, "value")
	cold, permit := s.MustKeys(t, keys.Config{Roots: keys.NewRootKeys(key)}), s.MustPermit(t, c)
	read := func() {
		value, err := cold.Open(t.Context(), permit, sealed, b)
		if err != nil || !bytes.Equal(value.Reveal(), []byte("value")) {
			t.Errorf("open: %v", err)
		}
	}
	before := fake.Calls("")
	var work sync.WaitGroup
	for range 1000 {
		work.Go(read)
	}
	work.Wait()
	for range 1000 {
		read()
	}
	if n := fake.Calls("") - before; n != 1 || fake.Calls("Decrypt") != 1 {
		t.Errorf("%d calls of the KMS for a thousand cold and a thousand warm reads, want 1", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	fake, arn, _ := start(t)
	for why, c := range map[string]awskms.Config{
		"not the full ARN":                {Key: strings.TrimPrefix(arn[strings.LastIndex(arn, "/"):], "/")},
		"not the full ARN of":             {Key: "alias/culvert"},
		"not the full ARN of a KMS":       {Key: "arn:aws:kms::" + keystest.AWSAccount + ":key/x"},
		"not the full ARN of a KMS key":   {Key: "arn:aws:s3:eu-central-1:" + keystest.AWSAccount + ":key/x"},
		"\" is not the full ARN":          {Key: "arn:aws:kms:eu-central-1:1:key/x"},
		"/../x\" is not the full ARN":     {Key: "arn:aws:kms:eu-central-1:" + keystest.AWSAccount + ":key/../x"},
		"the endpoint of a KMS is https":  {Key: arn, Endpoint: "http://kms.example.com"},
		"the endpoint of a KMS is":        {Key: arn, Endpoint: "https://user:password@kms.example.com"},
		"the endpoint of a KMS is https:": {Key: arn, Endpoint: "kms.example.com"},
	} {
		if _, err := awskms.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), why) || outage.Of(err) != nil {
			t.Errorf("%+v: %v, want one that says %q", c, err, why)
		}
	}
	unknown := arn[:len(arn)-1] + "x"
	if _, err := awskms.Open(t.Context(), awskms.Config{Key: unknown, Endpoint: fake.Endpoint()}); !errors.Is(err, keys.ErrRefused) {
		t.Errorf("a key that is not there: %v, want %v", err, keys.ErrRefused)
	}
	// An endpoint of the environment is no way around.
	t.Setenv("AWS_ENDPOINT_URL_KMS", "http://192.0.2.1")
	if _, err := awskms.Open(t.Context(), awskms.Config{Key: arn}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("plain http from the environment: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL_KMS", fake.Endpoint())
	if _, err := awskms.Open(t.Context(), awskms.Config{Key: arn}); err != nil {
		t.Errorf("loopback from the environment: %v", err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := awskms.Open(t.Context(), awskms.Config{Key: arn}); outage.Of(err) == nil || !strings.Contains(err.Error(), "no credentials") {
		t.Errorf("without credentials: %v, want an outage that says so", err)
	}
}
