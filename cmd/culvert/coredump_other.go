//go:build !linux

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// disableCoreDumps keeps the process's memory, with its unwrapped keys, out of files.
func disableCoreDumps() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	return nil
}
