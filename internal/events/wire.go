package events

import (
	"errors"

	"culvert/internal/text"
)

// timeLayout has milliseconds, always all three digits: some SDKs refuse other widths.
const timeLayout = "2006-01-02T15:04:05.000Z"

// errNotText stands in for an error that repeats its input.
var errNotText = errors.New("events: id or type of an event is not UTF-8")

// AppendJSON appends an event as clients see it, whether they page through the log or are sent it. Its data is
// JSON already: it was encoded for the transaction that committed the change, and its record's MAC has been
// checked.
func AppendJSON(b []byte, e *Stored) ([]byte, error) {
	b = append(b, `{"object":"event","id":`...)
	b, err := text.AppendJSON(b, e.ID)
	if err != nil {
		return nil, errNotText
	}
	b = append(b, `,"event":`...)
	if b, err = text.AppendJSON(b, string(e.Type)); err != nil {
		return nil, errNotText
	}
	b = append(b, `,"data":`...)
	b = append(b, e.Data...)
	b = append(b, `,"created_at":"`...)
	b = e.At.UTC().AppendFormat(b, timeLayout)
	return append(b, `"}`...), nil
}
