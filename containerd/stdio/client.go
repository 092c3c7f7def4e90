package stdio

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// queueLimit is how far a client may stay behind before the process waits.
	queueLimit = 1 << 20
	// piece is how much is handed to the socket at a time. The kernel frees a
	// socket's memory by whole writes, so small ones show progress early.
	piece = 16 << 10
)

var errDropped = errors.New("the client took nothing for too long")

// client is one attached connection on the hub's side, or the place of the one
// that is awaited. Output is queued; a goroutine of its own sends it, so that a
// slow client holds up others only once its queue is full.
type client struct {
	stall time.Duration // a client that takes nothing for so long is dropped

	mu      sync.Mutex
	changed sync.Cond
	conn    net.Conn // nil: awaited still
	queue   []byte
	behind  int   // bytes not taken yet, those being sent included
	ending  bool  // nothing more is queued
	err     error // why it was given up

	gone chan struct{} // closed when nothing more is sent
}

func newClient(conn net.Conn, stall time.Duration) *client {
	c := &client{conn: conn, stall: stall, gone: make(chan struct{})}
	c.changed.L = &c.mu
	if conn == nil {
		return c
	}
	c.queue = appendFrame(nil, frameHello, nil)
	c.behind = len(c.queue)
	return c
}

// adopt gives an awaited client its connection.
func (c *client) adopt(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil || c.err != nil {
		return false
	}
	c.conn = conn
	hello := appendFrame(nil, frameHello, nil)
	c.queue = append(hello, c.queue...)
	c.behind += len(hello)
	c.changed.Broadcast()
	return true
}

func (c *client) push(kind byte, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.ending {
		return
	}
	before := len(c.queue)
	c.queue = appendFrame(c.queue, kind, p)
	c.behind += len(c.queue) - before
	c.changed.Broadcast()
}

// end queues the last frame, and bounds the wait for a connection.
func (c *client) end() {
	c.push(frameEnd, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	c.changed.Broadcast()
	if c.conn == nil && c.err == nil {
		c.boundWait()
	}
}

// awaited reports whether the connection has not come yet and still may.
func (c *client) awaited() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn == nil && c.err == nil
}

// drop gives the client up.
func (c *client) drop(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropLocked(err)
}

func (c *client) dropLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.queue, c.behind = nil, 0
	c.changed.Broadcast()
	if c.conn == nil {
		close(c.gone)
		return
	}
	c.conn.Close()
}

// dropUnlessConnected gives an awaited client up.
func (c *client) dropUnlessConnected(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		c.dropLocked(err)
	}
}

// boundWait bounds the time that is spent on waiting for a connection.
func (c *client) boundWait() *time.Timer {
	return time.AfterFunc(c.stall, func() { c.dropUnlessConnected(errDropped) })
}

// waitRoom blocks while the client is too far behind. The wait is bounded by
// what send does, or by the wait for a connection.
func (c *client) waitRoom() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.behind <= queueLimit || c.err != nil {
		return
	}
	if c.conn == nil {
		defer c.boundWait().Stop()
	}
	for c.behind > queueLimit && c.err == nil {
		c.changed.Wait()
	}
}

// send delivers the queue until it has ended or the client is given up.
func (c *client) send() error {
	defer close(c.gone)
	var out []byte
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.ending && c.err == nil {
			if cap(out) > 4*piece {
				out = nil // after a burst
			}
			c.changed.Wait()
		}
		if c.err != nil || len(c.queue) == 0 {
			defer c.mu.Unlock()
			return c.err
		}
		out, c.queue = c.queue, out[:0]
		c.mu.Unlock()
		for rest := out; len(rest) > 0; {
			n, err := c.write(rest[:min(len(rest), piece)])
			rest = rest[n:]
			c.mu.Lock()
			if c.err == nil {
				c.behind -= n
			}
			c.changed.Broadcast()
			c.mu.Unlock()
			if err != nil {
				c.drop(err)
				return err
			}
		}
	}
}

// write returns when p was handed over, or when the client has read nothing at
// all for the bound of time. It looks twice in that time, not at every write.
func (c *client) write(p []byte) (int, error) {
	written, before := 0, -1
	for {
		c.conn.SetWriteDeadline(time.Now().Add(c.stall / 2))
		n, err := c.conn.Write(p[written:])
		written += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return written, err
		}
		now := unread(c.conn)
		if n == 0 && before >= 0 && now >= before {
			return written, fmt.Errorf("%w: %v", errDropped, c.stall)
		}
		before = now
	}
}

// unread tells how much of what was sent the other side has not read yet. A
// socket becomes writable only when most of it is free, so a slow reader's
// progress is seen here alone.
func unread(conn net.Conn) (n int) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}
