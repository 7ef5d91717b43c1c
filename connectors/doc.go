// Package connectors knows providers: as data, and through one HTTP client. It knows no storage and no
// keys.
package connectors
