package stream

import (
	"encoding/json"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"culvert/internal/audit"
)

// The severities that results become (RFC 5424 section 6.2.1).
const (
	severityError   = 3
	severityWarning = 4
	severityInfo    = 6
)

// sdID is the SD-ID of ours. The number is that which IANA keeps for examples: there is none of our own.
const sdID = "culvert@32473"

// syslogForm makes messages of RFC 5424. Its fields are what is the same in all of them.
type syslogForm struct {
	facility   int
	structured bool
	host, pid  string
}

func newSyslogForm(s *Spec) syslogForm {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return syslogForm{
		facility: s.Facility, structured: s.Format == Structured, host: headerField(host, 255), pid: strconv.Itoa(os.Getpid()),
	}
}

// headerField is text as a field of the header may be: PRINTUSASCII, of a bounded length, or a hyphen for nothing.
func headerField(text string, most int) string {
	var b strings.Builder
	for _, r := range text {
		if b.Len() == most {
			break
		}
		if r < 33 || r > 126 {
			r = '_'
		}
		b.WriteByte(byte(r))
	}
	if b.Len() == 0 {
		return "-"
	}
	return b.String()
}

// appendFrame appends a message behind its length in octets (RFC 5425 section 4.3).
func appendFrame(dst, message []byte) []byte {
	dst = strconv.AppendInt(dst, int64(len(message)), 10)
	return append(append(dst, ' '), message...)
}

// appendHeader appends everything up to the structured data.
func (f *syslogForm) appendHeader(dst []byte, severity int, at time.Time, id string) []byte {
	dst = append(dst, '<')
	dst = strconv.AppendInt(dst, int64(f.facility*8+severity), 10)
	dst = append(dst, ">1 "...)
	dst = at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	for _, field := range []string{f.host, "culvert", f.pid, headerField(id, 32)} {
		dst = append(append(dst, ' '), field...)
	}
	return append(dst, ' ')
}

// record appends the message of a record. JSON is sent as MSG-ANY: parsers of JSON stumble over a byte order mark.
func (f *syslogForm) record(dst []byte, leaf *audit.Leaf) []byte {
	severity := severityInfo
	switch leaf.Result {
	case audit.Denied:
		severity = severityWarning
	case audit.Failed:
		severity = severityError
	}
	dst = f.appendHeader(dst, severity, leaf.Time, string(leaf.Action))
	if f.structured {
		return appendStructured(dst, leaf)
	}
	return appendEntry(append(dst, "- "...), leaf)
}

// checkpoint appends the message of a checkpoint.
func (f *syslogForm) checkpoint(dst []byte, b *batch, at time.Time) []byte {
	dst = f.appendHeader(dst, severityInfo, at, "checkpoint")
	if !f.structured {
		return b.appendCheckpoint(append(dst, "- "...))
	}
	dst = append(dst, '[')
	dst = append(dst, sdID...)
	dst = appendParam(dst, "node", b.node)
	dst = appendParam(dst, "size", strconv.FormatUint(b.size, 10))
	// The lines of a checkpoint are part of what is signed, and control characters are replaced in parameters.
	text, err := json.Marshal(string(b.checkpoint))
	if err == nil {
		dst = appendParam(dst, "checkpoint", string(text))
	}
	return append(dst, ']')
}

// appendStructured appends the members of a record as parameters, in their order; those that are empty are left out.
func appendStructured(dst []byte, leaf *audit.Leaf) []byte {
	dst = append(dst, '[')
	dst = append(dst, sdID...)
	schema, value := reflect.TypeFor[audit.Record](), reflect.ValueOf(leaf.Record)
	for i := range schema.NumField() {
		name := schema.Field(i).Tag.Get("json")
		if text := audit.Text(value.Field(i)); text != "" && len(name) <= 32 {
			dst = appendParam(dst, name, text)
		}
	}
	dst = appendParam(dst, "leaf_hash", leafHash(leaf.Line))
	return append(dst, ']')
}

// appendParam appends a parameter, escaped as RFC 5424 section 6.3.3 wants. Control characters, which receivers
// that write lines would take for their ends, are replaced.
func appendParam(dst []byte, name, value string) []byte {
	dst = append(append(append(dst, ' '), name...), `="`...)
	for _, r := range value {
		switch {
		case r == '"' || r == '\\' || r == ']':
			dst = append(dst, '\\', byte(r))
		case r < 32 || r == 127:
			dst = utf8.AppendRune(dst, utf8.RuneError)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
