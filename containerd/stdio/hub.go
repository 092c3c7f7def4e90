package stdio

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gantry/containerd/jsonlog"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// stall is how long a client may take nothing before it is dropped.
const stall = 10 * time.Second

// Streams says which of its streams a process has open.
type Streams struct{ Stdin, Stdout, Stderr bool }

// Hub carries the streams of one process, between pipes on the one side, the
// log and any number of attached clients on the other.
//
//	New ──► Started ──► outputs end ──► Drained ──► clients have all ──► Done
//	          (the process alone holds the pipes now)   log complete, socket gone
//
// The log gets everything first. A client that falls behind by more than 1 MiB
// makes the process wait, until it has taken nothing for 10 s and is dropped.
// Without clients output goes to the log alone, or nowhere; it never blocks.
type Hub struct {
	// Paths of the process's ends: what a runtime opens as it would open FIFOs.
	// A stream that the process does not have is "".
	Stdin, Stdout, Stderr string

	cfg      Config
	stall    time.Duration
	log      *jsonlog.Writer // nil without a log
	listener *net.UnixListener
	socket   os.FileInfo // of the listener, for another hub may take its path over
	input    *pipe
	outputs  []*pipe
	onInput  func()

	mu      sync.Mutex
	clients []*client // replaced, never changed in place
	ended   bool
	failing bool // the log's last write failed

	socketEnd sync.Once

	inputEnd sync.Once
	inputOff chan struct{}
	drained  chan struct{}
	done     chan struct{}
}

// New makes the pipes, the log and the socket of a process. onInputEnd is called
// once when the process's input is to end because of a client; the hub's own
// end of the pipe is closed by then. The process does not run yet: call Started
// once it has opened its ends, or has failed to start.
func New(c Config, s Streams, onInputEnd func()) (*Hub, error) {
	return newHub(c, s, onInputEnd, stall)
}

func newHub(c Config, s Streams, onInputEnd func(), stall time.Duration) (_ *Hub, err error) {
	h := &Hub{
		cfg: c, stall: stall, onInput: onInputEnd,
		inputOff: make(chan struct{}), drained: make(chan struct{}), done: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			h.release()
		}
	}()
	if c.LogPath != "" && (s.Stdout || s.Stderr) {
		if h.log, err = jsonlog.Create(c.LogPath, jsonlog.Limits{MaxSize: c.MaxSize, MaxFile: c.MaxFile}); err != nil {
			return nil, err
		}
		if err = h.log.Tag(c.Attrs); err != nil {
			return nil, err
		}
	}
	if s.Stdin {
		if h.input, err = newPipe(Stdin); err != nil {
			return nil, err
		}
		h.Stdin = h.input.path
	}
	for _, o := range []struct {
		open   bool
		stream byte
		path   *string
	}{{s.Stdout, Stdout, &h.Stdout}, {s.Stderr, Stderr, &h.Stderr}} {
		if !o.open {
			continue
		}
		p, err := newPipe(o.stream)
		if err != nil {
			return nil, err
		}
		h.outputs = append(h.outputs, p)
		*o.path = p.path
	}
	if c.Socket != "" {
		if err = h.listen(); err != nil {
			return nil, err
		}
		if c.AwaitClient {
			h.clients = []*client{newClient(nil, h.stall)}
		}
	}
	go h.run()
	return h, nil
}

func (h *Hub) listen() error {
	if len(h.cfg.Socket) > maxSocketPath {
		return fmt.Errorf("socket %q: its path has more than %d bytes: %w", h.cfg.Socket, maxSocketPath, errdefs.ErrInvalidArgument)
	}
	if err := os.MkdirAll(filepath.Dir(h.cfg.Socket), 0o700); err != nil {
		return fmt.Errorf("directory for attaching: %w", err)
	}
	// One that is there is left over from a process that was killed.
	if err := os.Remove(h.cfg.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("socket for attaching: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.cfg.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("socket for attaching: %w", err)
	}
	l.SetUnlinkOnClose(false)
	h.listener = l
	if h.socket, err = os.Lstat(h.cfg.Socket); err != nil {
		return fmt.Errorf("socket for attaching: %w", err)
	}
	return nil
}

// closeSocket takes no more clients. It may be called again, and returns when
// the socket is gone.
func (h *Hub) closeSocket() {
	h.socketEnd.Do(func() {
		if h.listener == nil {
			return
		}
		h.listener.Close()
		if st, err := os.Lstat(h.cfg.Socket); err == nil && h.socket != nil && os.SameFile(st, h.socket) {
			os.Remove(h.cfg.Socket)
		}
	})
}

// release closes what New opened.
func (h *Hub) release() {
	h.closeSocket()
	for _, p := range h.outputs {
		p.close()
	}
	if h.input != nil {
		h.input.close()
	}
	if h.log != nil {
		h.log.Close()
	}
}

// Started says that the process has opened its ends of the pipes, or will not.
// From now on an output ends when the last process that holds it has closed it.
func (h *Hub) Started() {
	for _, p := range h.outputs {
		p.guard.Close()
	}
}

// Stop ends the outputs though somebody may still hold them.
func (h *Hub) Stop() {
	h.Started()
	for _, p := range h.outputs {
		p.ours.SetReadDeadline(time.Unix(1, 0))
	}
}

// Abort is Stop for a process that nobody knows any more: no client may come.
func (h *Hub) Abort() {
	h.closeSocket()
	h.mu.Lock()
	clients := h.clients
	h.mu.Unlock()
	for _, c := range clients {
		c.dropUnlessConnected(errDropped)
	}
	h.Stop()
}

// Drained is closed when the outputs have ended and the log holds all of it.
func (h *Hub) Drained() <-chan struct{} { return h.drained }

// Done is closed when the clients have got all of it too, or were dropped.
func (h *Hub) Done() <-chan struct{} { return h.done }

// CloseInput closes the hub's end of the process's input.
func (h *Hub) CloseInput() { h.closeInput(func() {}) }

func (h *Hub) closeInput(after func()) {
	if h.input == nil {
		return
	}
	h.inputEnd.Do(func() {
		close(h.inputOff)
		h.input.ours.Close()
		after()
	})
}

// InputEnded reports whether the hub's end of the input is closed.
func (h *Hub) InputEnded() bool {
	select {
	case <-h.inputOff:
		return true
	default:
		return false
	}
}

func (h *Hub) run() {
	if h.listener != nil {
		go h.accept()
	}
	var outputs sync.WaitGroup
	for _, p := range h.outputs {
		outputs.Go(func() { h.pump(p) })
	}
	outputs.Wait()

	h.mu.Lock()
	h.ended = true
	clients := h.clients
	if h.log != nil {
		h.logged(h.log.Close())
	}
	h.mu.Unlock()
	// The socket goes before Drained is told, so that nothing is left of a
	// container once its exit is known, unless a client is still to come.
	if !slices.ContainsFunc(clients, (*client).awaited) {
		h.closeSocket()
	}
	close(h.drained)

	for _, c := range clients {
		c.end()
	}
	for _, c := range clients {
		<-c.gone // bounded by the client's own patience
	}
	h.closeSocket()
	h.CloseInput()
	if h.input != nil {
		h.input.guard.Close()
	}
	close(h.done)
}

// pump moves one output until it ends.
func (h *Hub) pump(p *pipe) {
	defer p.close()
	for p.read(func(data []byte) { h.deliver(p.stream, data) }) {
	}
}

func (h *Hub) deliver(stream byte, p []byte) {
	h.mu.Lock()
	if h.log != nil {
		name := jsonlog.Stdout
		if stream == Stderr {
			name = jsonlog.Stderr
		}
		h.logged(h.log.Write(name, time.Now(), p))
	}
	clients := h.clients
	for _, c := range clients {
		c.push(stream, p)
	}
	h.mu.Unlock()
	for _, c := range clients {
		c.waitRoom()
	}
}

// logged reports the first of a row of failures to write the log.
func (h *Hub) logged(err error) {
	if err != nil && !h.failing {
		log.L.WithError(err).WithField("log", h.cfg.LogPath).Error("output is lost")
	}
	h.failing = err != nil
}
