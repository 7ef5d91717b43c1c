package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Exit codes. A script can tell a mistake in its own command line from a failure to do the work.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitUnread is what a shell says of a program that SIGPIPE ended.
	exitUnread = 128 + int(syscall.SIGPIPE)
)

// usageError is a mistake in the command line or in the settings.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// hintError adds what the reader can do about an error.
type hintError struct {
	err  error
	hint string
}

func (e *hintError) Error() string { return e.err.Error() }
func (e *hintError) Unwrap() error { return e.err }

func hinted(err error, hint string) error { return &hintError{err, hint} }

// report writes an error the one way this program does: one line of what went wrong, one line for each
// hint, no capitals, no period; and returns the exit code.
func report(w io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errNobodyReads) {
		return exitUnread
	}
	// Joined errors and those of libraries come in several lines.
	text := strings.Join(strings.Split(err.Error(), "\n"), "; ")
	_, _ = fmt.Fprintf(w, "error: %s\n", text)
	found := hints(err)
	if len(found) == 0 && (strings.HasPrefix(text, "setting ") || strings.HasPrefix(text, "settings ") || strings.Contains(text, ": setting ")) {
		found = []string{"culvert help settings says what each takes"}
	}
	for _, hint := range found {
		_, _ = fmt.Fprintf(w, "hint: %s\n", hint)
	}
	var u *usageError
	var unknown *unknownError
	if errors.As(err, &u) || errors.As(err, &unknown) {
		return exitUsage
	}
	return exitFailed
}

// hints collects those of an error and of all that it wraps or joins.
func hints(err error) []string {
	var found []string
	if h, ok := err.(*hintError); ok {
		found = append(found, h.hint)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		found = append(found, hints(e.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, wrapped := range e.Unwrap() {
			found = append(found, hints(wrapped)...)
		}
	}
	return found
}

// nearest returns the known word that a misspelt one was probably meant to be, or nothing if none is
// within a third of its length.
func nearest(word string, known []string) string {
	best, distance := "", len(word)/3+1
	for _, candidate := range known {
		if d := edits(word, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
