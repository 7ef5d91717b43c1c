package awskms_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"culvert/keys"
	"culvert/keys/keystest"
)

// policy is what the examples have of the policy language.
type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect      string
		Action, Resource any
		Principal        map[string]string
		Condition        map[string]map[string]string
	}
}

// The examples allow the calls of this package with the encryption context it sends, and nothing else.
func TestPolicyExamples(t *testing.T) {
	for _, name := range []string{"role-policy.json", "root-key-policy.json", "customer-key-policy.json"} {
		p := mustReadPolicy(t, name)
		fake, arn, key := start(t)
		var refused []string
		fake.Policy(arn, func(op string, encryptionContext map[string]string) bool {
			if p.allows("kms:"+op, encryptionContext) {
				return true
			}
			refused = append(refused, op)
			return false
		})
		b, share := keystest.TestBinding(), keystest.NewShare()
		b.Items = map[string]string{"organization_id": "org_123"}
		wrapped, err := key.Wrap(t.Context(), share, b)
		if err == nil {
			_, err = key.Unwrap(t.Context(), wrapped, b)
		}
		if err == nil {
			_, err = keys.Rewrap(t.Context(), key, key, wrapped, b)
		}
		if err == nil {
			_, err = key.Describe(t.Context())
		}
		if err != nil || len(refused) > 0 {
			t.Errorf("%s refuses %v: %v", name, refused, err)
		}
		for _, op := range []string{"kms:ScheduleKeyDeletion", "kms:DisableKey", "kms:PutKeyPolicy", "kms:CreateGrant"} {
			if p.allows(op, map[string]string{"culvert:kek": "k", "organization_id": "org_123"}) {
				t.Errorf("%s allows %s", name, op)
			}
		}
		if p.allows("kms:Decrypt", map[string]string{"organization_id": "org_1"}) {
			t.Errorf("%s allows to decrypt what is somebody else's", name)
		}
	}
}

func mustReadPolicy(t *testing.T, name string) policy {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "kms", name))
	if err != nil {
		t.Fatal(err)
	}
	var p policy
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return p
}

// allows knows as much of the language as the examples use, and answers for Culvert's role.
func (p policy) allows(action string, encryptionContext map[string]string) bool {
	for _, s := range p.Statement {
		if s.Sid == "Administrators" || s.Effect != "Allow" || s.Principal != nil && !strings.HasSuffix(s.Principal["AWS"], ":role/culvert") {
			continue
		}
		actions, _ := s.Action.([]any)
		named := slices.ContainsFunc(actions, func(pattern any) bool {
			ok, err := path.Match(pattern.(string), action)
			return ok && err == nil
		})
		if named && holds(s.Condition, encryptionContext) {
			return true
		}
	}
	return false
}

func holds(conditions map[string]map[string]string, encryptionContext map[string]string) bool {
	for operator, pairs := range conditions {
		for key, want := range pairs {
			name, ok := strings.CutPrefix(key, "kms:EncryptionContext:")
			got, given := encryptionContext[name]
			switch {
			case !ok:
				return false
			case operator == "Null" && (want == "true") == given:
				return false
			case operator == "StringEquals" && (!given || got != want):
				return false
			case operator != "Null" && operator != "StringEquals":
				return false
			}
		}
	}
	return true
}
