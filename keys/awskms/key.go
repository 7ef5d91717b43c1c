package awskms

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"culvert/internal/secret"
	"culvert/keys"
)

// maxWrapped is what the KMS takes as a ciphertext. Shares need a fraction of it.
const maxWrapped = 6144

// Key is a root key in a KMS. It is safe for concurrent use. It retries on its own, and gives up after
// [callTimeout] or when the context of a call ends.
type Key struct {
	client *kms.Client
	arn    string
	place  place
	now    func() time.Time

	mu      sync.Mutex // guards checked
	checked time.Time  // when Check last found the key well
}

var _ keys.Rewrapper = (*Key)(nil)

// place is what two keys must have in common for the KMS to move a share from one to the other: the same
// partition and region, asked at the same address. The credentials are the process's anyway.
type place struct{ partition, region, endpoint string }

// URI is "awskms:" and the ARN of the key, also where an alias was configured.
func (k *Key) URI() string { return uriScheme + k.arn }

// Wrap implements [keys.RootKey] by Encrypt.
func (k *Key) Wrap(ctx context.Context, share secret.Bytes, b keys.Binding) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &k.arn, Plaintext: share.Reveal(), EncryptionContext: encryptionContext(b),
	})
	if err != nil {
		return nil, failed(ctx, "encrypt", err)
	}
	return k.wrapped("encrypt", out.KeyId, out.CiphertextBlob)
}

// Unwrap implements [keys.RootKey] by Decrypt. The KMS is told which key it has to be: without that it
// would decrypt with any key that the ciphertext names, an attacker's included.
func (k *Key) Unwrap(ctx context.Context, wrapped []byte, b keys.Binding) (secret.Bytes, error) {
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return secret.Bytes{}, keys.ErrTampered // the KMS calls this an invalid request
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &k.arn, CiphertextBlob: wrapped, EncryptionContext: encryptionContext(b),
	})
	if err != nil {
		return secret.Bytes{}, failed(ctx, "decrypt", err)
	}
	if aws.ToString(out.KeyId) != k.arn || len(out.Plaintext) != keys.ShareSize {
		clear(out.Plaintext)
		return secret.Bytes{}, keys.ErrTampered
	}
	return secret.New(out.Plaintext), nil
}

// RewrapFrom implements [keys.Rewrapper] by ReEncrypt. It needs kms:ReEncryptFrom on the other key and
// kms:ReEncryptTo on this one.
func (k *Key) RewrapFrom(ctx context.Context, from keys.RootKey, wrapped []byte, b keys.Binding) ([]byte, bool, error) {
	source, ok := from.(*Key)
	if !ok || source.place != k.place {
		return nil, false, nil
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, true, keys.ErrTampered
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := k.client.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: wrapped,
		SourceKeyId:    &source.arn, SourceEncryptionContext: encryptionContext(b),
		DestinationKeyId: &k.arn, DestinationEncryptionContext: encryptionContext(b),
	})
	if err != nil {
		return nil, true, failed(ctx, "re-encrypt", err)
	}
	if aws.ToString(out.SourceKeyId) != source.arn {
		return nil, true, wrongAnswer("re-encrypt")
	}
	rewrapped, err := k.wrapped("re-encrypt", out.KeyId, out.CiphertextBlob)
	return rewrapped, true, err
}

// wrapped checks what the KMS says it has encrypted, before somebody throws an older form away for it.
func (k *Key) wrapped(op string, key *string, ciphertext []byte) ([]byte, error) {
	if aws.ToString(key) != k.arn || len(ciphertext) <= keys.ShareSize || len(ciphertext) > maxWrapped {
		return nil, wrongAnswer(op)
	}
	return ciphertext, nil
}

// checkEvery is how long a key that was found well passes for well: readiness is public and asked every
// second, and each look is two calls that are billed and count against the quota.
const checkEvery = 10 * time.Second

// Check implements [keys.RootKey] by using the key once, unless that was done a moment ago. A policy that
// asks for items in the encryption context refuses it: it is for the root key, not for a customer's.
func (k *Key) Check(ctx context.Context) error {
	k.mu.Lock()
	recent := !k.checked.IsZero() && k.now().Sub(k.checked) < checkEvery
	k.mu.Unlock()
	if recent {
		return nil
	}
	probe := secret.New(make([]byte, keys.ShareSize))
	b := keys.Binding{Environment: "readiness", KEK: "readiness", ContextDigest: "readiness", Slot: keys.RootSlot}
	wrapped, err := k.Wrap(ctx, probe, b)
	if err != nil {
		return err
	}
	opened, err := k.Unwrap(ctx, wrapped, b)
	if err != nil {
		return err
	}
	if !opened.Equal(probe) {
		return keys.ErrTampered
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.checked = k.now()
	return nil
}

// encryptionContext is the binding as the KMS authenticates and logs it. Names of ours win over an
// item's: no key context can have one that begins like them, and nothing here relies on that.
func encryptionContext(b keys.Binding) map[string]string {
	pairs := make(map[string]string, 4+len(b.Items))
	for name, value := range b.Items {
		pairs[name] = value
	}
	pairs["culvert:env"] = string(b.Environment)
	pairs["culvert:kek"] = b.KEK
	pairs["culvert:context"] = b.ContextDigest
	pairs["culvert:slot"] = b.Slot
	return pairs
}
