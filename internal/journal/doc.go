// Package journal is a small file of entries that must survive a crash until they are stored elsewhere.
//
// # What it guarantees
//
// [Room.Append] returns after the entry is on the disk (fsync), so what it holds outlives a kill of the process
// and a loss of power. Room is taken first ([Journal.Reserve]), in blocks that the file has already: an entry that
// found room does not fail because the disk became full meanwhile. Entries of one moment share an fsync.
//
// Opening returns the entries that were not removed. A damaged one, as a crash leaves at the end, is left
// out and logged; those behind it are read. After a failed write or fsync the file is not trusted: all
// entries are written to a new one in its place.
//
// # What it does not
//
// [Journal.Remove] is not made durable by itself: after a crash an entry may come back that was removed, and its owner
// has to tell by other means. Entries are whatever their owner seals; this package reads nothing of
// them. One process at a time may have a journal open, which is for its owner to see to.
//
// # On disk
//
// One file (0600) of frames, "CJR" and the version 1, the length and the CRC-32C of the entry as four bytes
// big endian each, the entry; behind the last frame zeros, which are room.
package journal
