package audit

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"
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

// Cells are a record as a row below [Columns]. A text that a spreadsheet would take for a formula stands behind an
// apostrophe: names of objects are their makers' to choose, and whoever opens the file is an auditor.
func Cells(r *Record) []string {
	value := reflect.ValueOf(*r)
	row := make([]string, value.NumField())
	for i := range row {
		row[i] = Text(value.Field(i))
		if value.Field(i).Kind() == reflect.String && row[i] != "" && strings.ContainsAny(row[i][:1], "=+-@\t\r\n") {
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
