package pipes

import (
	"errors"
	"time"

	"culvert/internal/outage"
)

// sendWindow is how soon after its attempt was put a refresh token has to be sent. A process that was
// stopped in between must not wake up and send a token that a successor has used up.
const sendWindow = 2 * time.Second

// sendWindows bounds how often a send begins again because the window had passed.
const sendWindows = 3

// errSlow means that etcd takes longer to store an attempt than a send may wait.
var errSlow = errors.New("the attempt of a refresh was stored too slowly to send the token")

func slow() error {
	return &outage.Error{Dependency: outage.Etcd, RetryAfter: time.Second, Cause: errSlow}
}

// inWindow tells whether a token may still be sent. began is the uptime from before the attempt was sent to
// etcd, because the process may have been stopped before it heard that it was stored.
func inWindow(began, now, window time.Duration) bool { return now-began < window }
