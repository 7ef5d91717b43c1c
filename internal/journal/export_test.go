package journal

// File is what tests put in the place of a file, MakeFile what makes one.
type File = file

// OpenWith is Open with files of the test's.
func OpenWith(c Config, open func(path string) (File, error)) (*Journal, error) {
	return openJournal(c, open)
}

// OSOpen makes a real file.
func OSOpen(path string) (File, error) { return osOpen(path) }

// Chunk is by how much the file grows.
const Chunk = chunk

// Scan finds the entries in the bytes of a file.
func Scan(data []byte) ([][]byte, int64) { return scan(data) }
