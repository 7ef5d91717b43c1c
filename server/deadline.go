package server

import (
	"net"
	"sync"
	"time"
)

// deadlineSlack is how much earlier than asked for a deadline may fall; the shortest that is ever asked for
// is ten seconds.
const deadlineSlack = time.Second

// deadlines passes on what changes. net/http sets seven deadlines for every request, most of which are
// replaced before anything waits for them, and each costs the runtime two locks and a timer. So one for
// reading reaches the connection with the next Read, except when a Read is under way; one that has passed
// already reaches it at once, because that is how net/http ends a Read; and one for writing that is hardly
// later than the present one does not reach it at all.
type deadlines struct {
	net.Conn

	// mu guards what follows, for the time of a system call that cannot block.
	mu      sync.Mutex
	reading bool
	// wanted is for the next Read; read and written are what the connection has.
	wanted, read, written time.Time
}

// Read implements [net.Conn].
func (d *deadlines) Read(b []byte) (int, error) {
	d.mu.Lock()
	if err := d.apply(); err != nil {
		d.mu.Unlock()
		return 0, err
	}
	d.reading = true
	d.mu.Unlock()
	n, err := d.Conn.Read(b)
	d.mu.Lock()
	d.reading = false
	d.mu.Unlock()
	return n, err
}

// SetReadDeadline implements [net.Conn].
func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = t
	if d.reading || !t.IsZero() && t.Before(time.Now()) {
		return d.apply()
	}
	return nil
}

// apply is called with the lock held.
func (d *deadlines) apply() error {
	if soonEnough(d.read, d.wanted) {
		return nil
	}
	d.read = d.wanted
	return d.Conn.SetReadDeadline(d.wanted)
}

// SetWriteDeadline implements [net.Conn].
func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if soonEnough(d.written, t) {
		return nil
	}
	d.written = t
	return d.Conn.SetWriteDeadline(t)
}

// SetDeadline implements [net.Conn].
func (d *deadlines) SetDeadline(t time.Time) error {
	if err := d.SetReadDeadline(t); err != nil {
		return err
	}
	return d.SetWriteDeadline(t)
}

// soonEnough tells whether a deadline does for one that is wanted: it is the same, or earlier by no more
// than the slack.
func soonEnough(has, wanted time.Time) bool {
	if has.IsZero() || wanted.IsZero() {
		return has.IsZero() && wanted.IsZero()
	}
	early := wanted.Sub(has)
	return early >= 0 && early < deadlineSlack
}

// CloseWrite lets net/http hang up in two steps.
func (d *deadlines) CloseWrite() error { return closeWrite(d.Conn) }
