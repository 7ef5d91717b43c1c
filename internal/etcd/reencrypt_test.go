package etcd_test

import (
	"bytes"
	"testing"
	"time"

	"culvert/internal/etcd"
	"culvert/keys"
	"culvert/vault"
)

// testReencrypt: another DEK and another ciphertext come into their place together, in every kind of record, if it
// and its KEK are as they were.
func testReencrypt(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t, slowWatch)
	ctx, job := t.Context(), time.Now().UTC()
	c := p.mustKEK(t, s, map[string]string{"organization_id": "org_1"})
	p.mustPipes(t, s, c)
	w := p.mustCreate(t, s, "object", c)
	before := p.mustHeader(t, s, w.Header.ID)
	next, _ := p.next(before.Header, c, 10)
	if err := s.Update(ctx, next, before.Revision, 0); err != nil {
		t.Fatal(err)
	}
	fresh := keys.Sealed{KeyID: c.KeyID, WrappedDEK: bytes.Repeat([]byte{9}, 77), Ciphertext: []byte("another ciphertext")}
	done := 0
	for _, h := range p.mustHolders(t, s, 100) {
		for at := range h.DEKs {
			h, err := s.Holder(ctx, p.env, h.Key)
			if err != nil {
				t.Fatal(err)
			}
			old := c
			old.Generation--
			mustBe(t, "under a KEK that changed: "+h.Key, s.Reencrypt(ctx, p.env, h, at, fresh, job, old), keys.ErrConflict)
			if was, err := s.HeldCiphertext(ctx, p.env, h, at); err != nil || len(was) == 0 || bytes.Equal(was, fresh.Ciphertext) {
				t.Errorf("value %d of %s: %q, %v", at, h.Key, was, err)
			}
			if err := s.Reencrypt(ctx, p.env, h, at, fresh, job, c); err != nil {
				t.Fatalf("re-encrypt %s: %v", h.Key, err)
			}
			mustBe(t, "a record that changed: "+h.Key, other.Reencrypt(ctx, p.env, h, at, fresh, job, c), keys.ErrConflict)
			again, err := other.Holder(ctx, p.env, h.Key)
			if err != nil || again.Err != nil || len(again.DEKs) != len(h.DEKs) {
				t.Fatalf("%s afterwards: %+v, %v", h.Key, again, err)
			}
			if d := again.DEKs[at]; !bytes.Equal(d.Wrapped, fresh.WrappedDEK) || !d.ReencryptedAt.Equal(job) || d.Place != h.DEKs[at].Place {
				t.Errorf("DEK %d of %s: %+v", at, h.Key, d)
			}
			if is, err := other.HeldCiphertext(ctx, p.env, again, at); err != nil || !bytes.Equal(is, fresh.Ciphertext) {
				t.Errorf("value %d of %s afterwards: %q, %v", at, h.Key, is, err)
			}
			done++
		}
	}
	if done != 8 {
		t.Errorf("%d values, want those of a grant, a revocation, four secrets and two versions", done)
	}
	after := p.mustHeader(t, other, w.Header.ID)
	for _, v := range after.Versions {
		if v.ETag != vault.ETag(fresh.Ciphertext) || v.Size != len(fresh.Ciphertext) {
			t.Errorf("version %d: etag %s, size %d", v.Sequence, v.ETag, v.Size)
		}
	}
	// A value is read as it stood with its record, or not at all.
	key := etcd.KeyObject(p.env, w.Header.ID)
	h, err := s.Holder(ctx, p.env, key)
	if err != nil {
		t.Fatal(err)
	}
	third, _ := p.next(after.Header, c, 10)
	if err := other.Update(ctx, third, after.Revision, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.HeldCiphertext(ctx, p.env, h, 0)
	mustBe(t, "the value of a record that changed", err, keys.ErrConflict)
}
