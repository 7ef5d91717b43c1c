package history_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const writers = 64

// oneVersionCheck sends the same version check from many writers through both processes at once: exactly
// one of them wins, and the others are told why they did not.
func oneVersionCheck(t *testing.T, doors ...*api) {
	status, made := doors[0].insist(t.Context(), http.MethodPost, "/vault/v1/kv",
		map[string]any{"name": "raced", "value": "made", "key_context": map[string]string{}})
	if status != http.StatusCreated {
		t.Fatalf("create: %d %s", status, made.Code)
	}
	path, version := "/vault/v1/kv/"+made.ID, made.VersionID
	for round := range 5 {
		won := race(t, http.StatusCreated, "version_conflict", func(n int) (int, answer) {
			return doors[n%len(doors)].insist(t.Context(), http.MethodPut, path,
				map[string]any{"value": fmt.Sprintf("%d of writer %d", round, n), "version_check": version})
		})
		for _, door := range doors {
			_, now := door.insist(t.Context(), http.MethodGet, path, nil)
			if want := fmt.Sprintf("%d of writer %d", round, won); now.Value != want {
				t.Errorf("round %d: the value is %q, want %q", round, now.Value, want)
			}
			version = now.Metadata.VersionID
		}
	}
	race(t, http.StatusOK, "entity_not_found", func(n int) (int, answer) {
		return doors[n%len(doors)].insist(t.Context(), http.MethodDelete, path+"?version_check="+version, nil)
	})
}

// race lets many writers begin at once and returns the one who was told that he won; the others must all
// have been told the same.
func race(t *testing.T, winner int, loser string, write func(n int) (int, answer)) int {
	t.Helper()
	var all sync.WaitGroup
	begin := make(chan struct{})
	statuses, codes := make([]int, writers), make([]string, writers)
	for n := range writers {
		all.Go(func() {
			<-begin
			status, got := write(n)
			statuses[n], codes[n] = status, got.Code
		})
	}
	close(begin)
	all.Wait()
	won := -1
	for n, status := range statuses {
		switch {
		case status == winner && won < 0:
			won = n
		case status == winner:
			t.Errorf("writer %d won, and writer %d too", n, won)
		case codes[n] != loser:
			t.Errorf("writer %d was told %d %s, want %s", n, status, codes[n], loser)
		}
	}
	if won < 0 {
		t.Errorf("none of %d writers won", writers)
	}
	return won
}

// lostAnswers sends creates whose client hangs up, and repeats them with the same Idempotency-Key through
// the other process: the object is the same, whatever became of the first attempt.
func lostAnswers(t *testing.T, doors ...*api) {
	for round := range 30 {
		name := fmt.Sprintf("lost-%d", round)
		key := "key of " + name
		body := map[string]any{"name": name, "value": "value of " + name, "key_context": map[string]string{}}
		first, other := doors[round%2], doors[1-round%2]
		var lost answer
		if round%3 == 0 {
			// The answer was given and got lost on its way: what is repeated is certainly done.
			lost = mustLose(t, first, body, key, -1)
		} else {
			// Somewhere between the first byte and the commit, or after it; the repetition may overtake.
			mustLose(t, first, body, key, time.Duration(round)*400*time.Microsecond)
		}
		status, again := other.insist(t.Context(), http.MethodPost, "/vault/v1/kv", body, "Idempotency-Key", key)
		if status != http.StatusCreated {
			t.Fatalf("round %d: repeated create: %d %s", round, status, again.Code)
		}
		if lost.raw != nil && string(lost.raw) != string(again.raw) {
			t.Errorf("round %d: the lost answer was %s, the repeated one is %s", round, lost.raw, again.raw)
		}
		_, third := first.insist(t.Context(), http.MethodPost, "/vault/v1/kv", body, "Idempotency-Key", key)
		if string(third.raw) != string(again.raw) {
			t.Errorf("round %d: answers of one key differ: %s and %s", round, again.raw, third.raw)
		}
		for _, door := range doors {
			shown, _ := door.page(t.Context(), "asc", name)
			_, now := door.insist(t.Context(), http.MethodGet, "/vault/v1/kv/name/"+name, nil)
			if shown[name].id != again.ID || now.Metadata.ID != again.ID || now.Value != "value of "+name {
				t.Errorf("round %d: object %s is listed as %s and read as %s", round, again.ID, shown[name].id, now.Metadata.ID)
			}
		}
		// Another body is another request.
		body["value"] = "another value"
		if status, got := other.insist(t.Context(), http.MethodPost, "/vault/v1/kv", body, "Idempotency-Key", key); status != http.StatusConflict || got.Code != "idempotency_error" {
			t.Errorf("round %d: another body under the same key: %d %s", round, status, got.Code)
		}
	}
}

// mustLose sends a create on a connection of its own and hangs up after a while without reading, or if
// that is negative after the whole answer, which it returns.
func mustLose(t *testing.T, a *api, body any, idempotency string, after time.Duration) (lost answer) {
	t.Helper()
	encoded, err := json.Marshal(body)
	must(t, err)
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.base, "http://"))
	must(t, err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /vault/v1/kv HTTP/1.1\r\nHost: culvert\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"+
		"Idempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s", a.key, idempotency, len(encoded), encoded)
	must(t, err)
	if after >= 0 {
		time.Sleep(after)
		return answer{}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	must(t, err)
	lost.raw, err = io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusCreated {
		return answer{} // nothing was done: an attempt like those that are cut off early
	}
	return lost
}
