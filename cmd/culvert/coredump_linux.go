package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// disableCoreDumps keeps the process's memory, with its unwrapped keys, out of files. The limit alone
// is not enough: with a pipe in core_pattern the kernel ignores it, so the process is also marked as
// not dumpable, which keeps debuggers of the same user away as well.
func disableCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	return nil
}
