package audit

import (
	"errors"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"culvert/internal/access"
	"culvert/internal/text"
)

// Version is the v of every record. A new layout gets a new number, and readers keep the old one.
const Version = 1

// Phase says where in a call a record was written.
type Phase string

// The phases.
const (
	// Access is a call that changes nothing: one record, before its answer leaves.
	Access Phase = "access"
	// Intent is written before a write's transaction, Outcome after it.
	Intent  Phase = "intent"
	Outcome Phase = "outcome"
	// Internal marks records that no caller asked for: those of the log about itself, and findings of
	// the program, as an API key record whose MAC does not verify.
	Internal Phase = "internal"
)

// Result is what came of it.
type Result string

// The results. An intent that was let through is Allowed; what came of it says its outcome.
const (
	Allowed Result = "allowed"
	Denied  Result = "denied"
	Failed  Result = "failed"
)

// Record is one line of the log, and its fields are the allowlist: nothing else can get into it. It
// holds ids, names and key contexts; never a value, a key or a credential.
//
// The line is a JSON object with the members in the order of these fields, without white space.
// Members are left out if their field is zero, except v, index, time, node, action, phase and result;
// key_context stands wherever it is not nil, because an empty one is legal.
// The line without its newline is what a Merkle tree hashes.
type Record struct {
	// V, Index, Time and Node are filled in by [Log.Append], whatever the caller put there. Indices
	// rise by one from 0, which is always the log's own first record; Time is UTC to the microsecond.
	V     int       `json:"v"`
	Index uint64    `json:"index"`
	Time  time.Time `json:"time"`
	Node  string    `json:"node"`

	EnvironmentID access.EnvironmentID `json:"environment_id"`
	// RequestID is what the client was told in X-Request-ID.
	RequestID   string        `json:"request_id"`
	ActorID     string        `json:"actor_id"`
	ActorName   string        `json:"actor_name"`
	ActorSource string        `json:"actor_source"`
	Action      access.Action `json:"action"`
	Phase       Phase         `json:"phase"`
	// Intent is the index of the intent that an outcome belongs to; 0, which is no intent's, in the
	// outcome of a write that was refused before it got so far.
	Intent uint64 `json:"intent"`
	Result Result `json:"result"`
	// Code is the machine-readable error code, as in the answer's body; Status its HTTP status.
	Code       string `json:"code"`
	Status     int    `json:"status"`
	ObjectID   string `json:"object_id"`
	ObjectName string `json:"object_name"`
	VersionID  string `json:"version_id"`
	KeyID      string `json:"key_id"`
	// KeyContext is written with its names in byte order; names that are not UTF-8, which no legal
	// context has, are left out. The map is only read during Append.
	KeyContext map[string]string `json:"key_context"`
	// Provider is a connector's slug; the ids below are of pipes. User and organization ids are the
	// caller's own opaque strings.
	Provider       string `json:"provider"`
	IntegrationID  string `json:"integration_id"`
	AccountID      string `json:"account_id"`
	GrantID        string `json:"grant_id"`
	FlowID         string `json:"flow_id"`
	UserID         string `json:"user_id"`
	OrganizationID string `json:"organization_id"`
	// Revision is the store's, of what was read or written.
	Revision int64 `json:"revision"`
	// Route is the template, never the path that was sent.
	Route string `json:"route"`
	// Cut counts the bytes that were removed from the log's end; only in the log's own records.
	Cut int64 `json:"cut"`
	// Subject is the node that a record of the log's own is about, and Checkpoint what that node has signed; in
	// records of calls, the stream or the export that is named.
	Subject    string `json:"subject"`
	Checkpoint string `json:"checkpoint"`
}

// For begins the record of a call: who, where, and what is asked for. Phase and Result are the
// caller's to set.
func For(call access.Call, action access.Action) Record {
	return Record{
		EnvironmentID: call.Actor.Environment(),
		RequestID:     call.RequestID,
		ActorID:       call.Actor.ID(),
		ActorName:     call.Actor.Name(),
		ActorSource:   call.Actor.Source(),
		Action:        action,
		Route:         call.Route,
	}
}

// check refuses a record that would say nothing: a mistake of the program, not of its caller.
func (r *Record) check() error {
	switch r.Phase {
	case Access, Intent, Outcome, Internal:
	default:
		return errors.New("audit: record without phase")
	}
	switch r.Result {
	case Allowed, Denied, Failed:
	default:
		return errors.New("audit: record without result")
	}
	if r.Action == "" {
		return errors.New("audit: record without action")
	}
	return nil
}

// timeLayout is RFC 3339 in UTC with exactly six fractional digits.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// appendHead appends the opening brace and the members that the log itself gives: all but the index
// are the same for a whole batch. node is JSON already.
func appendHead(dst []byte, index uint64, at, node []byte) []byte {
	dst = append(dst, `{"v":1,"index":`...)
	dst = strconv.AppendUint(dst, index, 10)
	dst = append(dst, `,"time":"`...)
	dst = append(dst, at...)
	dst = append(dst, `","node":`...)
	return append(dst, node...)
}

// appendTail appends all other members, from the comma behind node to the closing brace and newline.
// It runs on the caller's goroutine, so that the one writer has only heads to make.
func appendTail(dst []byte, r *Record) []byte {
	dst = appendText(dst, `,"environment_id":`, string(r.EnvironmentID))
	dst = appendText(dst, `,"request_id":`, r.RequestID)
	dst = appendText(dst, `,"actor_id":`, r.ActorID)
	dst = appendText(dst, `,"actor_name":`, r.ActorName)
	dst = appendText(dst, `,"actor_source":`, r.ActorSource)
	dst = appendText(dst, `,"action":`, string(r.Action))
	dst = appendText(dst, `,"phase":`, string(r.Phase))
	if r.Intent != 0 {
		dst = append(dst, `,"intent":`...)
		dst = strconv.AppendUint(dst, r.Intent, 10)
	}
	dst = appendText(dst, `,"result":`, string(r.Result))
	dst = appendText(dst, `,"code":`, r.Code)
	dst = appendNumber(dst, `,"status":`, int64(r.Status))
	dst = appendText(dst, `,"object_id":`, r.ObjectID)
	dst = appendText(dst, `,"object_name":`, r.ObjectName)
	dst = appendText(dst, `,"version_id":`, r.VersionID)
	dst = appendText(dst, `,"key_id":`, r.KeyID)
	dst = appendContext(dst, r.KeyContext)
	dst = appendText(dst, `,"provider":`, r.Provider)
	dst = appendText(dst, `,"integration_id":`, r.IntegrationID)
	dst = appendText(dst, `,"account_id":`, r.AccountID)
	dst = appendText(dst, `,"grant_id":`, r.GrantID)
	dst = appendText(dst, `,"flow_id":`, r.FlowID)
	dst = appendText(dst, `,"user_id":`, r.UserID)
	dst = appendText(dst, `,"organization_id":`, r.OrganizationID)
	dst = appendNumber(dst, `,"revision":`, r.Revision)
	dst = appendText(dst, `,"route":`, r.Route)
	dst = appendNumber(dst, `,"cut":`, r.Cut)
	dst = appendText(dst, `,"subject":`, r.Subject)
	dst = appendText(dst, `,"checkpoint":`, r.Checkpoint)
	return append(dst, '}', '\n')
}

func appendText(dst []byte, member, value string) []byte {
	if value == "" {
		return dst
	}
	return appendQuote(append(dst, member...), value)
}

func appendNumber(dst []byte, member string, value int64) []byte {
	if value == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, member...), value, 10)
}

func appendContext(dst []byte, items map[string]string) []byte {
	if items == nil {
		return dst
	}
	dst = append(dst, `,"key_context":{`...)
	// A legal context has ten items at most, so this array stays on the stack.
	var space [10]string
	names := space[:0]
	for name := range items {
		// Replaced like values, two of them could become one name twice, which no reader accepts.
		if utf8.ValidString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuote(dst, name), ':')
		dst = appendQuote(dst, items[name])
	}
	return append(dst, '}')
}

// appendQuote escapes every control character, so that no name can end a line and begin a forged one.
// Invalid UTF-8 becomes U+FFFD: a hostile name must not keep its own refusal out of the log.
func appendQuote(dst []byte, value string) []byte {
	dst, _ = text.AppendJSON(dst, value)
	return dst
}
