package api

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"gantry/engine"

	"github.com/containerd/log"
)

// logSource reads containers' logs.
type logSource interface {
	ContainerLogs(ctx context.Context, ref string, opts engine.LogOptions) (engine.LogReader, bool, error)
}

type logRoutes struct{ logSource }

func (l logRoutes) routes() []route {
	return []route{{"GET /containers/{id}/logs", l.logs}}
}

// rfc3339NanoFixed keeps all nine digits, so that lines align. Source: Engine
// API, the timestamps parameter.
const rfc3339NanoFixed = "2006-01-02T15:04:05.000000000Z07:00"

// logBacklog is how many lines are read ahead of a client.
const logBacklog = 256

func (l logRoutes) logs(w http.ResponseWriter, r *http.Request) error {
	opts, err := logOptions(r)
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	reader, tty, err := l.ContainerLogs(ctx, r.PathValue("id"), opts)
	if err != nil {
		return err
	}
	defer reader.Close()
	w.Header().Set("Content-Type", streamType(r, tty))
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	control.Flush()

	stamp, details := flag(r, "timestamps"), flag(r, "details")
	lines := make(chan []byte, logBacklog)
	go func() {
		defer close(lines)
		for {
			e, err := reader.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && ctx.Err() == nil {
					log.G(ctx).WithError(err).Errorf("log of container %q", r.PathValue("id"))
				}
				return
			}
			select {
			case lines <- formatEntry(e, tty, stamp, details):
			case <-ctx.Done():
				return
			}
		}
	}()
	// what is at hand goes out together, and at the latest when nothing is
	for line := range lines {
		if _, err := w.Write(line); err != nil {
			break
		}
		if len(lines) == 0 && control.Flush() != nil {
			break
		}
	}
	cancel()
	for range lines { // the reader's goroutine ends before the reader is closed
	}
	return nil
}

func logOptions(r *http.Request) (engine.LogOptions, error) {
	q := r.URL.Query()
	opts := engine.LogOptions{Stdout: flag(r, "stdout"), Stderr: flag(r, "stderr"), Follow: flag(r, "follow"), Tail: -1}
	if !opts.Stdout && !opts.Stderr {
		return opts, badRequest("bad parameters: you must choose at least one stream")
	}
	var err error
	// as dockerd has it, what is no number of lines means all of them
	if n, err := strconv.Atoi(q.Get("tail")); err == nil && n >= 0 {
		opts.Tail = n
	}
	if opts.Since, err = instant(r, "since"); err != nil {
		return opts, err
	}
	opts.Until, err = instant(r, "until")
	return opts, err
}

func streamOf(e engine.LogEntry) byte {
	if e.Stream == "stderr" {
		return stderr
	}
	return stdout
}

// formatEntry writes an entry as clients get it: the time, if asked for, its
// details, if asked for, and the line.
func formatEntry(e engine.LogEntry, raw, stamp, details bool) []byte {
	var prefix []byte
	if stamp {
		prefix = append(e.Time.UTC().AppendFormat(nil, rfc3339NanoFixed), ' ')
	}
	if details {
		for i, k := range slices.Sorted(maps.Keys(e.Attrs)) {
			if i > 0 {
				prefix = append(prefix, ',')
			}
			prefix = append(prefix, url.QueryEscape(k)+"="+url.QueryEscape(e.Attrs[k])...)
		}
		prefix = append(prefix, ' ')
	}
	if raw {
		return append(prefix, e.Line...)
	}
	return appendFrame(make([]byte, 0, frameHeader+len(prefix)+len(e.Line)), streamOf(e), prefix, e.Line)
}
