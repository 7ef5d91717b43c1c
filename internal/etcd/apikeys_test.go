package etcd_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"culvert/internal/access"
	"culvert/internal/etcd"
	"culvert/internal/id"
	"culvert/keys"
)

func testAPIKeys(t *testing.T, open opener) {
	p := newPlace(t, open(t))
	s, other := p.mustStore(t), p.mustStore(t)
	ctx := t.Context()
	record := access.KeyRecord{
		ID: id.ULID(time.Now()), Environment: p.env, Name: "a key", Role: access.RoleAdmin,
		Hash: bytes.Repeat([]byte{1}, 32), CreatedAt: p.ids.Now(),
	}
	_, _, err := s.APIKey(ctx, p.env, record.ID)
	mustBe(t, "before its creation", err, access.ErrNoKey)
	if err := s.CreateAPIKey(ctx, record); err != nil {
		t.Fatal(err)
	}
	// It can be used here at once, without another fence.
	got, revision, err := s.APIKey(ctx, p.env, record.ID)
	if err != nil || revision == 0 {
		t.Fatalf("revision %d, %v", revision, err)
	}
	if diff := cmp.Diff(got, record); diff != "" {
		t.Errorf("record (-got +want):\n%s", diff)
	}
	mustFence(t, other)
	if _, _, err := other.APIKey(ctx, p.env, record.ID); err != nil {
		t.Errorf("on another replica: %v", err)
	}
	_, _, err = s.APIKey(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV", record.ID)
	mustBe(t, "in another environment", err, access.ErrNoKey)
	// A second creation under the id leaves the first.
	second := record
	second.Role, second.Name = access.RoleAdmin, "an impostor"
	if err := s.CreateAPIKey(ctx, second); err != nil {
		t.Fatal(err)
	}
	if got, again, err := s.APIKey(ctx, p.env, record.ID); err != nil || got.Name != record.Name || again != revision {
		t.Errorf("after a second creation: %q at revision %d, %v", got.Name, again, err)
	}
	// A revocation through one replica holds on the other from its acknowledgement on.
	revoked := record
	revoked.RevokedAt = p.ids.Now()
	key := etcd.KeyAPIKey(p.env, record.ID)
	if err := s.Put(ctx, p.env, key, revoked); err != nil {
		t.Fatal(err)
	}
	mustFence(t, other)
	if got, now, err := other.APIKey(ctx, p.env, record.ID); err != nil || got.RevokedAt.IsZero() || now <= revision {
		t.Errorf("revoked on the other replica: %v at revision %d, %v", got.RevokedAt, now, err)
	}
	// Edited it is broken, which is not the same as absent; removed it is absent.
	genuine := p.rawGet(t, key)
	for i := range genuine {
		edited := bytes.Clone(genuine)
		edited[i] ^= 0x20
		p.rawPut(t, key, edited)
		mustFence(t, s)
		if _, _, err := s.APIKey(ctx, p.env, record.ID); !errors.Is(err, keys.ErrTampered) {
			t.Fatalf("byte %d edited: %v", i, err)
		}
	}
	if _, err := p.client.KV().Delete(ctx, p.client.Abs(key)); err != nil {
		t.Fatal(err)
	}
	mustFence(t, s)
	_, _, err = s.APIKey(ctx, p.env, record.ID)
	mustBe(t, "after its removal", err, access.ErrNoKey)
}
