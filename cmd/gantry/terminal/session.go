package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/term"
)

// DefaultDetachKeys leave a process without ending it. Source: docker attach.
const DefaultDetachKeys = "ctrl-p,ctrl-q"

// ErrDetached says that the user has left; the process runs on.
var ErrDetached = errors.New("detached")

// Conn is a connection to a process's streams.
type Conn struct {
	Output io.Reader
	Input  io.Writer
	// CloseInput sends the end of the input.
	CloseInput func() error
	Close      func() error
}

// Session carries streams between a user and a process.
type Session struct {
	In       io.Reader // nil: no input
	Out, Err io.Writer
	TTY      bool // the process has a terminal: its output is one raw stream
	// DetachKeys as "ctrl-p,ctrl-q"; they only mean something with TTY and In.
	DetachKeys string
	// Resize tells the process's terminal its size; nil when it has none.
	Resize func(ctx context.Context, width, height int) error
}

// Run carries on until the process's output has ended, the user detaches
// (ErrDetached), or ctx ends. It owns conn. The user's terminal is raw
// meanwhile, if the process has one, and as before afterwards.
func (s Session) Run(ctx context.Context, conn Conn) error {
	defer conn.Close()
	in := s.In
	if s.TTY && in != nil {
		keys, err := term.ToBytes(s.DetachKeys)
		if err != nil {
			return fmt.Errorf("invalid --detach-keys %q: %w", s.DetachKeys, errors.Join(errdefs.ErrInvalidArgument, err))
		}
		restore, err := Raw(s.In)
		if err != nil {
			return err
		}
		defer restore()
		in = term.NewEscapeProxy(s.In, keys)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.TTY && s.Resize != nil {
		defer s.follow(ctx)()
	}
	output := make(chan error, 1)
	go func() { output <- s.receive(conn.Output) }()
	if in == nil {
		conn.CloseInput()
	} else {
		// Reading from a terminal cannot be broken off: this outlives Run when
		// the process ends first.
		go func() {
			_, err := io.Copy(conn.Input, in)
			if errors.As(err, &term.EscapeError{}) {
				cancel(ErrDetached)
				return
			}
			conn.CloseInput()
		}()
	}
	select {
	case err := <-output:
		if err != nil {
			return fmt.Errorf("streams of the process: %w (%w)", err, errdefs.ErrUnavailable)
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s Session) receive(from io.Reader) error {
	var err error
	if s.TTY {
		_, err = io.Copy(s.Out, from)
	} else {
		_, err = stdcopy.StdCopy(s.Out, s.Err, from)
	}
	if errors.Is(err, syscall.ECONNRESET) {
		return nil // the process has ended while input was on its way
	}
	return err
}

// follow keeps the process's terminal at the size of the user's, from now on
// until the function that it returns is called.
func (s Session) follow(ctx context.Context) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		for {
			if f, ok := File(s.Out); ok {
				width, height := Size(f)
				s.Resize(ctx, width, height) // best effort: the process may be gone
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(changed)
		cancel()
		<-ended
	}
}
