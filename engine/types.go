package engine

import (
	"io"
	"time"

	"github.com/moby/moby/api/types/container"
)

// Filters selects objects: a key such as "label" with the values asked for.
// Values of one key are alternatives, except labels; keys must all match.
// Source: Engine API, the filters parameter.
type Filters map[string][]string

// ListOptions says which containers ListContainers returns.
type ListOptions struct {
	All     bool // not only running ones
	Limit   int  // the newest n, 0 for all; implies All
	Size    bool
	Filters Filters
}

// StopOptions says how a container is asked to stop. The zero value uses the
// container's own signal and timeout, else SIGTERM and 10 s.
type StopOptions struct {
	Signal  string
	Timeout *time.Duration // negative: wait for ever
}

// RemoveOptions says how a container is removed.
type RemoveOptions struct {
	Force   bool // kill it first if it runs
	Volumes bool // its anonymous volumes too
}

// LogOptions selects log entries.
type LogOptions struct {
	Stdout, Stderr bool
	Follow         bool
	Tail           int // the last n lines, -1 for all
	Since, Until   time.Time
}

// LogEntry is one line of a container's output, its newline included; a line
// that was cut has none.
type LogEntry struct {
	Stream string // stdout or stderr
	Time   time.Time
	Line   []byte
	Attrs  map[string]string // of the container, as its log options ask for
}

// LogReader reads a container's log. Next returns io.EOF at the end; with
// Follow that is when the container has ended.
type LogReader interface {
	Next() (LogEntry, error)
	Close() error
}

// Stream is the live input and output of a container's process or of an exec.
type Stream struct {
	TTY   bool
	Stdin io.WriteCloser // nil when the process has no input; Close sends the end of input
	// Detached is to be called when the client leaves by its detach keys; may be nil.
	Detached func()
	Output
}

// Output delivers a process's output. Next returns io.EOF when the process's
// output has ended. The slice is valid until the next call.
type Output interface {
	Next() (stream byte, p []byte, err error) // stream: 1 stdout, 2 stderr
	Close() error
}

// ExecStart says how an exec is started.
type ExecStart struct {
	Detach      bool
	ConsoleSize *[2]uint // height, width
}

// Progress is how far a long operation on an image is.
type Progress struct {
	ID             string // layer or image
	Status         string // "Downloading", "Extracting", "Pull complete"
	Current, Total int64  // bytes, Total 0 when unknown
}

// Auth is what a registry asks for.
type Auth struct{ Username, Password, IdentityToken, RegistryToken string }

// CommitOptions says what image is made of a container.
type CommitOptions struct {
	Reference string // the new image's name, "" for none
	Comment   string
	Author    string
	Changes   []string // Dockerfile instructions
	Pause     bool
	Config    *container.Config // laid over the container's own, nil for that alone
}
