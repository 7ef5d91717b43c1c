package reads

import (
	"encoding/json"
	"fmt"
	"time"

	"culvert/internal/access"
	"culvert/internal/audit"
	"culvert/internal/events"
)

// late is how long after a read its event may bear the read's time. It has to stay below the disorder that the log of
// events allows, with a transaction's time limits and the clocks' difference.
const late = 5 * time.Second

// timeLayout has milliseconds, as times of events have.
const timeLayout = "2006-01-02T15:04:05.000Z"

// data is the data object of a read's event (contract section 3), with the time of the read besides.
type data struct {
	events.Actor
	Name       string            `json:"kv_name,omitempty"`
	KeyID      string            `json:"key_id,omitempty"`
	KeyIDs     []string          `json:"key_ids,omitempty"`
	KeyContext map[string]string `json:"key_context,omitzero"`
	ReadAt     string            `json:"read_at"`
}

// eventOf is the event of a record; false if it has none.
func eventOf(r *audit.Record, now time.Time) (events.Event, bool, error) {
	d := data{
		Actor:  events.Actor{ID: r.ActorID, Source: r.ActorSource, Name: r.ActorName},
		ReadAt: r.Time.UTC().Format(timeLayout),
	}
	t, told := typeOf(r, &d)
	if !told {
		return events.Event{}, false, nil
	}
	encoded, err := json.Marshal(d)
	if err != nil {
		return events.Event{}, false, fmt.Errorf("encode event of record %d: %w", r.Index, err)
	}
	at := r.Time
	if at.After(now) || now.Sub(at) > late {
		at = now
	}
	return events.Event{Type: t, Data: encoded, At: at.UTC().Truncate(time.Millisecond), Node: r.Node, Index: r.Index}, true, nil
}

// typeOf fills in what the contract shows of a read. A data key that is made, or moved to another context, is handed
// out: that is its read, and has an intent, because its KEK may have to be made.
func typeOf(r *audit.Record, d *data) (events.Type, bool) {
	phase := audit.Access
	if r.Action == access.DEKCreate || r.Action == access.DEKRekey {
		phase = audit.Outcome
	}
	if r.Phase != phase || r.Result != audit.Allowed {
		return "", false
	}
	switch r.Action {
	case access.DataRead:
		d.Name, d.KeyID = r.ObjectName, r.KeyID
		return events.DataRead, true
	case access.MetadataRead:
		d.Name = r.ObjectName
		return events.MetadataRead, true
	case access.NamesList:
		return events.NamesListed, true
	case access.DEKCreate, access.DEKRekey:
		d.KeyIDs, d.KeyContext = []string{r.KeyID}, r.KeyContext
		return events.DEKRead, true
	case access.DEKDecrypt:
		d.KeyID = r.KeyID
		return events.DEKDecrypted, true
	}
	return "", false
}
