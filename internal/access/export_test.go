package access

// AppendBase62 is the encoding of keys and checksums.
func AppendBase62(dst, number []byte, width int) []byte { return appendBase62(dst, number, width) }
