package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	jsonx "github.com/go-json-experiment/json"

	"culvert/internal/record"
	"culvert/internal/secret"
)

const canary = "canary-7d1f0c55"

// mustNotShow looks for the canary in every spelling that a verb or encoder could give it.
func mustNotShow(t *testing.T, how, text string) {
	t.Helper()
	decimal := strings.Trim(fmt.Sprint([]byte(canary)), "[]")
	for _, spelling := range []string{
		canary, hex.EncodeToString([]byte(canary)), fmt.Sprintf("% x", canary), fmt.Sprintf("%#x", canary),
		base64.StdEncoding.EncodeToString([]byte(canary))[:16], decimal, strings.ReplaceAll(decimal, " ", ","),
		strings.ReplaceAll(decimal, " ", ", "), fmt.Sprintf("%#v", []byte(canary))[len("[]byte{"):], fmt.Sprintf("%b", []byte(canary))[1:],
		fmt.Sprintf("%U", []rune(canary))[1:],
	} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(strings.TrimRight(spelling, "]}"))) {
			t.Errorf("%s shows the canary as %q: %s", how, spelling, text)
		}
	}
}

type (
	exported   struct{ Value secret.Bytes }
	unexported struct{ value secret.Bytes }
	pointed    struct{ value *secret.Bytes }
	deep       struct {
		inner   unexported
		list    []secret.Bytes
		byName  map[string]secret.Bytes
		any     any
		Public  exported
		Pointer *secret.Bytes
	}
	embedded struct{ secret.Bytes }
)

// shapes are the ways in which a secret can be part of a value.
func shapes() map[string]any {
	b := secret.New([]byte(canary))
	return map[string]any{
		"value":              b,
		"pointer":            &b,
		"exported field":     exported{b},
		"unexported field":   unexported{b},
		"pointer to struct":  &unexported{b},
		"unexported pointer": pointed{&b},
		"embedded":           embedded{b},
		"slice":              []secret.Bytes{b},
		"slice of structs":   []unexported{{b}},
		"slice of pointers":  []*secret.Bytes{&b},
		"array":              [1]secret.Bytes{b},
		"map":                map[string]secret.Bytes{"k": b},
		"map of structs":     map[string]unexported{"k": {b}},
		"map of any":         map[string]any{"k": b},
		"interface":          []any{b, &b, unexported{b}},
		"deep":               deep{unexported{b}, []secret.Bytes{b}, map[string]secret.Bytes{"k": b}, b, exported{b}, &b},
	}
}

func TestNoVerbShowsASecret(t *testing.T) {
	verbs := strings.Split("v +v #v s q x X d b o O c U e E f F g G t p T w z 20s .3s -20v 020d", " ")
	for shape, value := range shapes() {
		for _, verb := range verbs {
			mustNotShow(t, shape+" under %"+verb, fmt.Sprintf("%"+verb, value))
		}
		mustNotShow(t, shape+" printed", fmt.Sprint(value)+fmt.Sprintln(value))
		mustNotShow(t, shape+" in an error", fmt.Errorf("failed: %v", value).Error())
		mustNotShow(t, shape+" with too many arguments", fmt.Sprintf(strings.Repeat("%", 0), value))
	}
	b := secret.New([]byte(canary))
	if got := fmt.Sprintf("%s %v %#v %d", b, b, b, b); got != strings.TrimSpace(strings.Repeat("[redacted] ", 4)) {
		t.Errorf("got %q", got)
	}
	mustNotShow(t, "String", b.String())
	mustNotShow(t, "GoString", b.GoString())
}

func TestNoEncoderShowsASecret(t *testing.T) {
	codec, err := record.NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	encoders := map[string]func(v any) ([]byte, error){
		"encoding/json":      json.Marshal,
		"go-json-experiment": func(v any) ([]byte, error) { return jsonx.Marshal(v) },
		"encoding/xml":       xml.Marshal,
		"record":             codec.Encode,
		"encoding/gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
	}
	for name, encode := range encoders {
		for shape, value := range shapes() {
			// Some refuse some shapes; what they say then must not show it either.
			text, err := encode(value)
			mustNotShow(t, name+" of "+shape, string(text)+fmt.Sprint(err))
		}
	}
	for _, marshal := range []func(any) ([]byte, error){json.Marshal, encoders["go-json-experiment"]} {
		if got, err := marshal(exported{secret.New([]byte(canary))}); err != nil || string(got) != `{"Value":"[redacted]"}` {
			t.Errorf("got %s, %v", got, err)
		}
	}
}

func TestNoLogShowsASecret(t *testing.T) {
	for shape, value := range shapes() {
		var text, lines bytes.Buffer
		for _, handler := range []slog.Handler{
			slog.NewTextHandler(&text, nil), slog.NewJSONHandler(&lines, nil),
		} {
			logger := slog.New(handler)
			logger.Info("m", "attribute", value)
			logger.With("with", value).WithGroup("g").Info("m", slog.Group("group", "k", value))
			logger.Error("m", "error", fmt.Errorf("wrapped: %w", errors.New(fmt.Sprint(value))))
		}
		mustNotShow(t, "text log of "+shape, text.String())
		mustNotShow(t, "JSON log of "+shape, lines.String())
	}
}

func TestPanicShowsNoSecret(t *testing.T) {
	defer func() { mustNotShow(t, "a recovered panic", fmt.Sprint(recover())) }()
	panic(secret.New([]byte(canary)))
}

func TestBytes(t *testing.T) {
	b := secret.New([]byte(canary))
	if string(b.Reveal()) != canary || b.Len() != len(canary) {
		t.Errorf("reveal: got %d bytes, want the canary", b.Len())
	}
	var zero secret.Bytes
	if zero.Reveal() != nil || zero.Len() != 0 || !zero.Equal(secret.New(nil)) || zero.Last4() != "" {
		t.Error("the zero value is not an empty secret")
	}
	for other, want := range map[string]bool{canary: true, canary + "x": false, canary[1:]: false, "": false} {
		if got := b.Equal(secret.New([]byte(other))); got != want {
			t.Errorf("equal to %q: got %v", other, got)
		}
	}
	for value, want := range map[string]string{"1234567": "", "12345678": "5678", "": "", canary: canary[len(canary)-4:]} {
		if got := secret.New([]byte(value)).Last4(); got != want {
			t.Errorf("last 4 of %q: got %q, want %q", value, got, want)
		}
	}
}
