package history_test

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// The sequential vault: at each name there is an object or none. Version ids, times and values are all
// different, so a read tells exactly which write it saw.

// verb is what a client can ask.
type verb string

const (
	create verb = "create"
	read   verb = "read"   // by name
	get    verb = "get"    // by id
	update verb = "update" // by id, with or without a version check
	remove verb = "delete" // by id, with or without a version check
	list   verb = "list"   // what a page shows of this one name
)

// verdict is how it ended. Calls that certainly did nothing are not part of a history.
type verdict string

const (
	done     verdict = "ok"
	notFound verdict = "not found"
	exists   verdict = "exists"
	conflict verdict = "version conflict"
	// unknown is a write that got no answer, or the answer that nobody knows.
	unknown verdict = "unknown"
)

// asked is the input of an operation.
type asked struct {
	verb verb
	name string
	id   string
	// check is the version check, "" without one.
	check string
	value string
}

// told is its output. Only what the answer holds is set: a list shows no version and no value.
type told struct {
	verdict                verdict
	id, version, at, value string
}

// object is the state of a name. The zero object is none. What a write without an answer left is present
// with unknown parts, empty here, until a read shows them.
type object struct {
	present                bool
	id, version, at, value string
}

// model checks each name by itself: nothing that a client is promised spans two of them.
func model() porcupine.Model {
	return porcupine.Model{
		Partition: byName,
		Init:      func() any { return object{} },
		Step: func(state, input, output any) (bool, any) {
			return step(state.(object), input.(asked), output.(told))
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
	}
}

func byName(history []porcupine.Operation) [][]porcupine.Operation {
	names := map[string][]porcupine.Operation{}
	for _, op := range history {
		name := op.Input.(asked).name
		names[name] = append(names[name], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range names {
		parts = append(parts, part)
	}
	return parts
}

// step says whether the vault may answer so, and what it is then.
func step(o object, in asked, out told) (bool, object) {
	switch in.verb {
	case create:
		return o.create(in, out)
	case update:
		return o.change(in, out, object{present: true, id: in.id, version: out.version, at: out.at, value: in.value})
	case remove:
		return o.change(in, out, object{})
	case get:
		// Who names an id has been told it, so no object whose id is still unknown has it.
		if out.verdict == notFound {
			return !o.present || o.id != in.id, o
		}
		return o.show(out)
	default: // read and list
		if out.verdict == notFound {
			return !o.present, o
		}
		return o.show(out)
	}
}

func (o object) create(in asked, out told) (bool, object) {
	made := object{present: true, id: out.id, version: out.version, at: out.at, value: in.value}
	switch out.verdict {
	case done:
		return !o.present, made
	case exists:
		return o.present, o
	default:
		if o.present {
			return true, o
		}
		return true, made
	}
}

// change is an update or a delete, which leaves next.
func (o object) change(in asked, out told, next object) (bool, object) {
	found := o.present && o.id == in.id
	// Who names a version has been told it, so it is not one that is still unknown.
	fits := found && (in.check == "" || o.version == in.check)
	switch out.verdict {
	case done:
		return fits, next
	case notFound:
		return !found, o
	case conflict:
		return found && !fits, o
	default:
		if fits {
			return true, next
		}
		return true, o
	}
}

// show is a read that found the object: whatever it shows must be what is there, and is known from then on.
func (o object) show(out told) (bool, object) {
	if !o.present {
		return false, o
	}
	for _, part := range []struct {
		is    *string
		shown string
	}{{&o.id, out.id}, {&o.version, out.version}, {&o.at, out.at}, {&o.value, out.value}} {
		switch {
		case part.shown == "" || *part.is == part.shown:
		case *part.is == "":
			*part.is = part.shown
		default:
			return false, o
		}
	}
	return true, o
}
