// Package localkms is a root key in a local file: for development, for tests, and for an installation
// that has no KMS and protects the file by other means.
//
// The file is text, so that it can be recognised, copied and kept in a safe:
//
//	# what it is, and what it opens
//	-----BEGIN CULVERT LOCAL ROOT KEY-----
//	Checksum: hex SHA-256 over format, id and keyset
//	Format: 1
//	Id: 16 hex digits
//
//	a Tink keyset in clear (XAES-256-GCM), base64
//	-----END CULVERT LOCAL ROOT KEY-----
//
// Who reads the file opens everything; who loses it loses everything. Its mode is 0600 and any other is
// refused, because nobody notices a wide mode before it is too late. The checksum finds damage, not
// malice: a writer of the file needs no forgery to make Culvert useless, and gains nothing else.
//
// What it does not do: no HSM, no log of its own, no rotation yet, no defence against a thief of the
// disk or a reader of this process's memory.
package localkms
