package access_test

import (
	"errors"
	"testing"

	"culvert/internal/access"
)

// What is remembered of a key that was let in opens nothing by itself: the record decides each time.
func TestMemo(t *testing.T) {
	h := newHouse(t)
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Fatal(err)
	}
	if got := h.gate.Remembered(); got != 1 {
		t.Fatalf("remembered keys: got %d, want 1", got)
	}

	// Case 0: its text is read as before, and one with another last character is none.
	text := string(h.APIKey.Text().Reveal())
	if key, err := h.gate.Parse(text); err != nil || key.ID != h.APIKey.ID || !key.Text().Equal(h.APIKey.Text()) {
		t.Errorf("parse: got %s, %v", key.ID, err)
	}
	if _, err := h.gate.Parse(text[:len(text)-1] + "!"); !errors.Is(err, access.ErrMalformedKey) {
		t.Errorf("parse another text: got %v", err)
	}

	// Case 1: the record has another hash now.
	h.edit(func(r *access.KeyRecord) { r.Hash = append([]byte{r.Hash[0] ^ 1}, r.Hash[1:]...) })
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("another hash: got %v", err)
	}

	// Case 2: the record is revoked, and then as it was.
	h.edit(func(r *access.KeyRecord) { r.RevokedAt = h.now })
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); !errors.Is(err, access.ErrUnauthenticated) {
		t.Errorf("revoked: got %v", err)
	}
	h.reset()
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Errorf("as it was: %v", err)
	}

	// Case 3: however many keys come, the memory is bounded, and a key that was forgotten works.
	h.gate.Remember(access.MemoKeys + 100)
	if got := h.gate.Remembered(); got != access.MemoKeys {
		t.Errorf("remembered keys: got %d, want %d", got, access.MemoKeys)
	}
	if _, err := h.gate.Authenticate(t.Context(), h.APIKey); err != nil {
		t.Errorf("forgotten key: %v", err)
	}
}
