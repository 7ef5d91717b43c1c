package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"
)

// Columns are the members of a record in their order: the first row of a CSV file.
func Columns() []string {
	schema := reflect.TypeFor[Record]()
	names := make([]string, schema.NumField())
	for i := range names {
		names[i] = schema.Field(i).Tag.Get("json")
	}
	return names
}

// formulas are what begins one; the wide ones do where texts are Chinese or Japanese.
const formulas = "=+-@\t\r\n＝＋－＠"

// Cells are a record as a row below [Columns]. A text that a spreadsheet would take for a formula stands behind an
// apostrophe: names of objects are their makers' to choose, and whoever opens the file is an auditor.
func Cells(r *Record) []string {
	value := reflect.ValueOf(*r)
	row := make([]string, value.NumField())
	for i := range row {
		row[i] = Text(value.Field(i))
		if first, _ := utf8.DecodeRuneInString(row[i]); value.Field(i).Kind() == reflect.String && strings.ContainsRune(formulas, first) {
			row[i] = "'" + row[i]
		}
	}
	return row
}

// Text is the field of a record as text. Zero values are empty, but for the index.
func Text(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case time.Time:
		return value.UTC().Format(timeLayout)
	case uint64:
		return fmt.Sprint(value)
	case map[string]string:
		if value == nil {
			return ""
		}
		text, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		return string(text)
	}
	if v.IsZero() {
		return ""
	}
	return fmt.Sprint(v.Interface())
}
