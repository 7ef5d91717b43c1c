package pipes

import (
	"time"

	"golang.org/x/sys/unix"
)

// uptime is the time since some moment of the past on a clock that goes on while the machine sleeps:
// neither a stopped process nor a suspended machine makes a send look fresh.
func uptime() time.Duration {
	var now unix.Timespec
	// It fails for a clock that the kernel does not have, which Linux has had since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano())
}
