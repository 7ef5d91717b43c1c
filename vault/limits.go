package vault

import (
	"fmt"
	"unicode/utf8"

	"culvert/internal/secret"
	"culvert/internal/text"
)

// MaxName is the length of a name in Unicode code points (contract section 1.4).
const MaxName = 200

const (
	// maxValueBytes is both the default and the most that can be configured: etcd refuses requests
	// above 1.5 MiB, and header, event and a new KEK travel in the same transaction as the value.
	maxValueBytes = 1 << 20
	// maxVersionsKept bounds the header, which is read and written whole (about 250 bytes a version).
	maxVersionsKept     = 100
	defaultVersionsKept = 10
	// maxPage is the most that one page holds (contract section 4, Pagination).
	maxPage = 100
)

// Limits of what is kept.
type Limits struct {
	// MaxValueBytes is the longest value in bytes of its UTF-8 form; default and maximum 1 MiB.
	MaxValueBytes int
	// VersionsKept is how many versions of an object stay, the current one included; default 10, at
	// most 100. A lower number prunes an object at its next update.
	VersionsKept int
}

func (l Limits) withDefaults() (Limits, error) {
	if l.MaxValueBytes == 0 {
		l.MaxValueBytes = maxValueBytes
	}
	if l.VersionsKept == 0 {
		l.VersionsKept = defaultVersionsKept
	}
	if l.MaxValueBytes < 0 || l.MaxValueBytes > maxValueBytes {
		return Limits{}, fmt.Errorf("vault: max value bytes must be between 1 and %d", maxValueBytes)
	}
	if l.VersionsKept < 0 || l.VersionsKept > maxVersionsKept {
		return Limits{}, fmt.Errorf("vault: versions kept must be between 1 and %d", maxVersionsKept)
	}
	return l, nil
}

// checkValue refuses a value that is too long. Everything else is kept byte for byte.
func (l Limits) checkValue(value secret.Bytes) error {
	if value.Len() > l.MaxValueBytes {
		return &InvalidError{Field: "value", Rule: fmt.Sprintf("has at most %d bytes", l.MaxValueBytes)}
	}
	return nil
}

// checkName refuses what cannot be addressed or can be mistaken for something else: "." and ".." are
// path segments that clients and proxies resolve away. Everything else is kept as the caller's bytes.
func checkName(name string) error {
	switch {
	case name == "":
		return &InvalidError{Field: "name", Rule: "must not be empty"}
	case name == "." || name == "..":
		return &InvalidError{Field: "name", Rule: "must not be a relative path segment"}
	case utf8.RuneCountInString(name) > MaxName:
		return &InvalidError{Field: "name", Rule: fmt.Sprintf("has at most %d characters", MaxName)}
	case text.Unprintable(name):
		return &InvalidError{
			Field: "name",
			Rule:  "must be UTF-8 without control or bidirectional formatting characters",
		}
	}
	return nil
}

// wellFormed reports whether the id could be one of ours: 36 bytes of lower-case hex and dashes. Any
// other text is of no object, so it is neither looked up nor written to the audit log, where a caller
// could otherwise leave a value pasted into a path.
func (id ObjectID) wellFormed() bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && c != '-' {
			return false
		}
	}
	return true
}
