package awskms_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"culvert/internal/outage"
	"culvert/keys"
	"culvert/keys/awskms"
	"culvert/keys/keystest"
)

func mustPool(t testing.TB, c awskms.PoolConfig) *awskms.Pool {
	t.Helper()
	p, err := awskms.NewPool(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A key of a pool is a root key like any other, though nobody has looked at it.
func TestKeyOfAPool(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	pool := mustPool(t, awskms.PoolConfig{Endpoint: fake.Endpoint()})
	keystest.RunRootKeyTests(t, func(t *testing.T) keys.RootKey {
		key, err := pool.Key(t.Context(), "awskms:"+fake.NewKey(t, "444455556666"))
		if err != nil {
			t.Fatal(err)
		}
		return key
	})
	before := fake.Calls("")
	if _, err := pool.Key(t.Context(), "awskms:"+fake.NewKey(t, "444455556666")); err != nil || fake.Calls("") != before {
		t.Errorf("opening a key made %d calls, %v", fake.Calls("")-before, err)
	}
}

func TestNamesOfCustomersKeys(t *testing.T) {
	pool := mustPool(t, awskms.PoolConfig{})
	const arn = "arn:aws:kms:eu-central-1:444455556666:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, text := range []string{arn, "awskms:" + arn} {
		if uri, ok := pool.Name(text); !ok || uri != "awskms:"+arn {
			t.Errorf("%s: %q, %v", text, uri, ok)
		}
	}
	for _, region := range []string{"us-east-1", "us-gov-west-1", "us-isob-east-1", "cn-north-1", "eusc-de-east-1", "ap-southeast-17"} {
		if _, ok := pool.Name(strings.Replace(arn, "eu-central-1", region, 1)); !ok {
			t.Errorf("region %s is refused", region)
		}
	}
	for _, region := range []string{"s3", "s3-us-west-2", "s3-accelerate", "elb", "EU-CENTRAL-1", "eu-central", "-eu-central-1", "eu--1", "eu-central-1-", "eu.central-1", ""} {
		if _, ok := pool.Name(strings.Replace(arn, "eu-central-1", region, 1)); ok {
			t.Errorf("region %q is accepted", region)
		}
	}
	for _, text := range []string{
		"", "x", "awskms:", "awskms:awskms:" + arn, " " + arn, arn + " ", arn + "/x", arn + "@evil.example",
		"arn:aws:kms:eu-central-1:444455556666:alias/mine", "arn:aws:kms:eu-central-1:444455556666:key/", "arn:aws:s3:eu-central-1:444455556666:key/x",
		"arn:aws:kms:evil.example/:444455556666:key/x", "arn:aws:kms:eu-central-1:4444:key/x", "arn:azure:kms:eu-central-1:444455556666:key/x",
		"local:k7hq2m", "/etc/passwd", "http://127.0.0.1",
	} {
		if uri, ok := pool.Name(text); ok {
			t.Errorf("%q is taken for %q", text, uri)
		}
		if _, err := pool.Key(t.Context(), "awskms:"+text); text != arn && !errors.Is(err, keys.ErrRefused) {
			t.Errorf("%q: %v, want %v", text, err, keys.ErrRefused)
		}
	}
	if _, err := awskms.NewPool(awskms.PoolConfig{Endpoint: "http://kms.example"}); err == nil {
		t.Error("shares may be sent in clear")
	}
}

// A pool holds as many keys as it may, from whatever regions, and gives all of them.
func TestPoolIsBounded(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	pool, b, share := mustPool(t, awskms.PoolConfig{Endpoint: fake.Endpoint(), Keys: 3}), keystest.TestBinding(), keystest.NewShare()
	var arns []string
	for range 8 {
		arns = append(arns, fake.NewKey(t, "444455556666"))
	}
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			arn := arns[i%len(arns)]
			key, err := pool.Key(context.Background(), "awskms:"+arn)
			if err != nil {
				t.Error(err)
				return
			}
			if wrapped, err := key.Wrap(context.Background(), share, b); err != nil || key.URI() != "awskms:"+arn || len(wrapped) == 0 {
				t.Errorf("%s: %v", key.URI(), err)
			}
		})
	}
	all.Wait()
	for i := range 9 {
		arn := strings.Replace(arns[0], keystest.AWSRegion, fmt.Sprint("eu-nowhere-", i), 1)
		if _, err := pool.Key(t.Context(), "awskms:"+arn); err != nil {
			t.Errorf("%s: %v", arn, err)
		}
	}
	if n := pool.Held(); n > 3 {
		t.Errorf("%d keys are held, want 3 at most", n)
	}
}

// Without credentials nothing is known of a key.
func TestPoolWithoutCredentials(t *testing.T) {
	keystest.SetAWSCredentials(t)
	fake := keystest.NewAWS(t)
	pool, uri := mustPool(t, awskms.PoolConfig{Endpoint: fake.Endpoint()}), "awskms:"+fake.NewKey(t, keystest.AWSAccount)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := pool.Key(t.Context(), uri); outage.Of(err) == nil || errors.Is(err, keys.ErrRefused) {
		t.Errorf("without credentials: %v, want an outage", err)
	}
	keystest.SetAWSCredentials(t)
	if _, err := pool.Key(t.Context(), uri); err != nil {
		t.Errorf("with credentials: %v", err)
	}
}
