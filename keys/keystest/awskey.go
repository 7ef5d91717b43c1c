package keystest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// awsKey is a symmetric key of an [AWS]. The lock of the AWS guards it.
type awsKey struct {
	id, arn, account string
	state            string
	createdAt        time.Time
	deletedFrom      time.Time
	// rotation is in days; 0 if there is none.
	rotation int
	// materials are all that there ever were, the newest last: a rotation keeps the old ones.
	materials []cipher.AEAD
	// allows is the key policy.
	allows func(op string, encryptionContext map[string]string) bool
}

const (
	stateEnabled         = "Enabled"
	stateDisabled        = "Disabled"
	statePendingDeletion = "PendingDeletion"
)

func newAWSKey(account string) (*awsKey, error) {
	id := uuid.NewString()
	k := &awsKey{
		id: id, account: account, arn: "arn:aws:kms:" + AWSRegion + ":" + account + ":key/" + id,
		state: stateEnabled, createdAt: time.Now().Truncate(time.Second),
		allows: func(string, map[string]string) bool { return true },
	}
	return k, k.rotate()
}

func (k *awsKey) rotate() error {
	material := make([]byte, 32)
	_, _ = rand.Read(material) // never fails
	block, err := aes.NewCipher(material)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return err
	}
	k.materials = append(k.materials, gcm)
	return nil
}

// A ciphertext is a version, the key's id, the number of the material and what AES-GCM makes.
const ciphertextHead = 1 + 16 + 4

func (k *awsKey) encrypt(plaintext []byte, encryptionContext map[string]string) []byte {
	id := uuid.MustParse(k.id)
	head := append([]byte{1}, id[:]...)
	head = binary.BigEndian.AppendUint32(head, uint32(len(k.materials)-1))
	return k.materials[len(k.materials)-1].Seal(head, nil, plaintext, awsAAD(head, encryptionContext))
}

func (k *awsKey) decrypt(ciphertext []byte, encryptionContext map[string]string) ([]byte, error) {
	head := ciphertext[:ciphertextHead]
	n := int(binary.BigEndian.Uint32(head[17:]))
	if n >= len(k.materials) {
		return nil, refuse("InvalidCiphertextException")
	}
	plaintext, err := k.materials[n].Open(nil, nil, ciphertext[ciphertextHead:], awsAAD(head, encryptionContext))
	if err != nil {
		return nil, refuse("InvalidCiphertextException")
	}
	return plaintext, nil
}

// awsAAD is the same for an encryption context in whatever order its pairs come.
func awsAAD(head []byte, encryptionContext map[string]string) []byte {
	aad := bytes.Clone(head)
	for _, name := range slices.Sorted(maps.Keys(encryptionContext)) {
		for _, field := range []string{name, encryptionContext[name]} {
			aad = append(binary.BigEndian.AppendUint32(aad, uint32(len(field))), field...)
		}
	}
	return aad
}

// keyOf tells whose a ciphertext is, by what it says itself.
func keyOf(ciphertext []byte) (id string, ok bool) {
	if len(ciphertext) < ciphertextHead || ciphertext[0] != 1 {
		return "", false
	}
	return uuid.UUID(ciphertext[1:17]).String(), true
}

// NewKey makes an enabled key in an account, [AWSAccount] or another, and returns its ARN.
func (a *AWS) NewKey(t testing.TB, account string) string {
	t.Helper()
	k, err := newAWSKey(account)
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[k.arn] = k
	return k.arn
}

// Alias points the alias "alias/NAME" in the caller's account at a key, and returns its ARN.
func (a *AWS) Alias(name, key string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	alias := "arn:aws:kms:" + AWSRegion + ":" + AWSAccount + ":alias/" + name
	a.aliases[alias] = key
	return alias
}

// Disable is what an administrator does to cut access.
func (a *AWS) Disable(key string) { a.edit(key, func(k *awsKey) { k.state = stateDisabled }) }

// Enable undoes [AWS.Disable] and [AWS.ScheduleDeletion].
func (a *AWS) Enable(key string) {
	a.edit(key, func(k *awsKey) { k.state, k.deletedFrom = stateEnabled, time.Time{} })
}

// ScheduleDeletion leaves the key to exist for a week, without use.
func (a *AWS) ScheduleDeletion(key string) {
	a.edit(key, func(k *awsKey) {
		k.state, k.deletedFrom = statePendingDeletion, time.Now().Add(7*24*time.Hour).Truncate(time.Second)
	})
}

// Rotate gives the key new material; ciphertexts of the old one still open.
func (a *AWS) Rotate(t testing.TB, key string) {
	t.Helper()
	a.edit(key, func(k *awsKey) {
		if err := k.rotate(); err != nil {
			t.Error(err)
		}
	})
}

// Policy makes the key answer AccessDeniedException to whatever allows refuses.
func (a *AWS) Policy(key string, allows func(op string, encryptionContext map[string]string) bool) {
	a.edit(key, func(k *awsKey) { k.allows = allows })
}

func (a *AWS) edit(key string, do func(*awsKey)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	do(a.keys[key])
}
