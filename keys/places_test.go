package keys_test

import (
	"strconv"
	"testing"

	"culvert/keys/keystest"
)

// What is remembered of places changes none of them, however many there are.
func TestPlacesAreRemembered(t *testing.T) {
	e := keystest.New(t).Environment
	first := map[string]string{}
	for round := range 2 {
		for i := range 12_000 { // more than are remembered
			user := strconv.Itoa(i)
			place := e.OwnerIndex("user", user, "", "github")
			if round == 0 {
				first[user] = place
			} else if first[user] != place {
				t.Fatalf("owner %s: got %s, and %s before", user, place, first[user])
			}
		}
	}
	places := map[string]bool{}
	for _, place := range first {
		places[place] = true
	}
	if len(places) != len(first) {
		t.Errorf("places of %d owners: %d", len(first), len(places))
	}
}
