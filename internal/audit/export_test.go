package audit

// Line returns a whole line as the writer composes it from head and tail.
func Line(dst []byte, index uint64, at, node string, r *Record) []byte {
	return appendTail(appendHead(dst, index, []byte(at), []byte(node)), r)
}
