package stdio

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// buffers are shared: a hub without output to move holds none. They have the
// size of a pipe.
var buffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

// pipe is an anonymous pipe between the hub and a process's runtime, which
// opens the other end by path. Nothing of it is on disk, so nothing is left
// behind when the shim is killed.
type pipe struct {
	stream byte
	path   string
	ours   *os.File // the reading end of an output, the writing end of the input
	guard  *os.File // the other end, so that neither sees the pipe unattached

	wait syscall.RawConn
	try  func(fd uintptr) bool
	buf  *[64 << 10]byte
	n    int
	err  error
}

func newPipe(stream byte) (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("pipe for a process's stream: %w", err)
	}
	ours, guard := fds[0], fds[1]
	if stream == Stdin {
		ours, guard = guard, ours
	}
	p := &pipe{
		stream: stream,
		path:   fmt.Sprintf("/proc/self/fd/%d", ours),
		ours:   os.NewFile(uintptr(ours), "stream"),
		guard:  os.NewFile(uintptr(guard), "stream"),
	}
	var err error
	if p.wait, err = p.ours.SyscallConn(); err != nil {
		p.close()
		return nil, fmt.Errorf("pipe for a process's stream: %w", err)
	}
	p.try = p.tryRead
	return p, nil
}

func (p *pipe) close() {
	p.ours.Close()
	p.guard.Close()
}

// read waits for data and passes it on; it reports false at the end.
func (p *pipe) read(use func(data []byte)) bool {
	if err := p.wait.Read(p.try); err != nil {
		return false // closed, or stopped by a deadline
	}
	defer func() {
		buffers.Put(p.buf)
		p.buf = nil
	}()
	if p.err != nil || p.n <= 0 {
		return false
	}
	use(p.buf[:p.n])
	return true
}

func (p *pipe) tryRead(fd uintptr) (ready bool) {
	p.buf = buffers.Get().(*[64 << 10]byte)
	for {
		p.n, p.err = unix.Read(int(fd), p.buf[:])
		switch p.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			buffers.Put(p.buf)
			p.buf = nil
			return false
		}
		return true
	}
}
