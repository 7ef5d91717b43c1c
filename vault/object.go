package vault

import (
	"time"

	"culvert/internal/access"
	"culvert/internal/secret"
	"culvert/keys"
)

// ObjectID is the opaque id of an object (a UUIDv7 as text; its order is the order of creation).
type ObjectID string

// VersionID is the opaque id of one version of an object.
type VersionID string

// Author is who made a version.
type Author struct {
	ID   string `cbor:"1,keyasint"`
	Name string `cbor:"2,keyasint"`
}

// Metadata is everything about an object but its name and value (contract section 1.1).
type Metadata struct {
	ID          ObjectID
	Environment access.EnvironmentID
	Context     keys.Context
	KeyID       keys.ID
	UpdatedAt   time.Time
	UpdatedBy   Author
	VersionID   VersionID
}

// Object is a named value with its metadata. Value is empty where only metadata was asked for.
type Object struct {
	ID       ObjectID
	Name     string
	Value    secret.Bytes
	Metadata Metadata
}

// Summary is an object as lists show it.
type Summary struct {
	ID        ObjectID
	Name      string
	UpdatedAt time.Time
}

// Version is one immutable state of an object, without its value.
type Version struct {
	ID        VersionID
	CreatedAt time.Time
	Current   bool
	// ETag is the first 32 hex digits of SHA-256 over the ciphertext: a hash of the plaintext would
	// be a dictionary oracle.
	ETag string
	// Size is the length of the stored ciphertext in bytes.
	Size int
}
