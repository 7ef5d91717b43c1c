package history_test

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// TestModel judges histories that were made up: each wrong one differs from a right one in what one
// client was told.
func TestModel(t *testing.T) {
	made := told{verdict: done, id: "a", version: "a1", at: "1"}
	shown := told{verdict: done, id: "a", version: "a1", at: "1", value: "one"}
	changed := told{verdict: done, id: "a", version: "a2", at: "2"}
	shownChanged := told{verdict: done, id: "a", version: "a2", at: "2", value: "two"}
	listed := told{verdict: done, id: "a", at: "1"}
	none, lost := told{verdict: notFound}, told{verdict: unknown}

	doCreate, doRead, doGet := asked{verb: create, value: "one"}, asked{verb: read}, asked{verb: get, id: "a"}
	doUpdate, doDelete, doList := asked{verb: update, id: "a", value: "two"}, asked{verb: remove, id: "a"}, asked{verb: list}
	checked := asked{verb: update, id: "a", check: "a1", value: "two"}

	for _, tc := range []struct {
		what    string
		history []porcupine.Operation
		want    bool
	}{
		{"read after create", sequence(doCreate, made, doRead, shown, doGet, shown, doList, listed), true},
		{"create not seen by name", sequence(doCreate, made, doRead, none), false},
		{"create not seen by id", sequence(doCreate, made, doGet, none), false},
		{"create not seen in a list", sequence(doCreate, made, doList, none), false},
		{"read of nothing", sequence(doRead, shown), false},
		{"update seen", sequence(doCreate, made, doUpdate, changed, doRead, shownChanged), true},
		{"update not seen", sequence(doCreate, made, doUpdate, changed, doRead, shown), false},
		{"update not seen in a list", sequence(doCreate, made, doUpdate, changed, doList, listed), false},
		{"value of another version", sequence(doCreate, made, doUpdate, changed, doRead, told{verdict: done, id: "a", version: "a2", at: "2", value: "one"}), false},
		{"update seen and then not", sequence(doCreate, made, doUpdate, lost, doRead, shownChanged, doRead, shown), false},
		{"delete seen", sequence(doCreate, made, doDelete, made, doRead, none, doGet, none, doList, none), true},
		{"delete not seen", sequence(doCreate, made, doDelete, made, doGet, shown), false},
		{"delete not seen in a list", sequence(doCreate, made, doDelete, made, doList, listed), false},
		{"name taken twice", sequence(doCreate, made, asked{verb: create, value: "two"}, told{verdict: done, id: "b", version: "b1"}), false},
		{"name taken", sequence(doCreate, made, doCreate, told{verdict: exists}), true},
		{"name taken by nobody", sequence(doCreate, told{verdict: exists}), false},
		{"one version check twice", sequence(doCreate, made, checked, changed, checked, changed), false},
		{"version check of an old version", sequence(doCreate, made, checked, changed, checked, told{verdict: conflict}), true},
		{"version check of the current version", sequence(doCreate, made, checked, told{verdict: conflict}), false},
		// What got no answer happened, or did not, or happens later; but not twice, and not something else.
		{"lost update seen", sequence(doCreate, made, doUpdate, lost, doRead, shownChanged), true},
		{"lost update not seen", sequence(doCreate, made, doUpdate, lost, doRead, shown), true},
		{"lost update seen late", sequence(doCreate, made, doUpdate, lost, doRead, shown, doRead, shownChanged), true},
		{"lost create seen", sequence(doCreate, lost, doRead, shown), true},
		{"lost create not seen", sequence(doCreate, lost, doRead, none), true},
		{"lost create seen as something else", sequence(doCreate, lost, doRead, shownChanged), false},
		{"lost delete seen", sequence(doCreate, made, doDelete, lost, doRead, none), true},
		{"lost delete seen and then not", sequence(doCreate, made, doDelete, lost, doRead, none, doRead, shown), false},
	} {
		if got := porcupine.CheckOperations(model(), tc.history); got != tc.want {
			t.Errorf("%s: linearizable is %v, want %v", tc.what, got, tc.want)
		}
	}
}

// sequence is a history of one operation after the other, given as what was asked and told in turn. One
// without an answer goes on for ever.
func sequence(pairs ...any) []porcupine.Operation {
	var history []porcupine.Operation
	for i := 0; i < len(pairs); i += 2 {
		out := pairs[i+1].(told)
		op := porcupine.Operation{Input: pairs[i].(asked), Output: out, Call: int64(2 * i), Return: int64(2*i + 1)}
		if out.verdict == unknown {
			op.Return = math.MaxInt64
		}
		history = append(history, op)
	}
	return history
}
