package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"gantry/containerd/jsonlog"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

// logReader follows a container's log until the container ends.
type logReader struct {
	*jsonlog.Reader
	ctx    context.Context
	cancel context.CancelFunc
}

func (r *logReader) Next() (LogEntry, error) {
	e, err := r.Reader.Next(r.ctx)
	if err != nil {
		return LogEntry{}, err
	}
	return LogEntry{Stream: e.Stream, Time: e.Time, Line: e.Line, Attrs: e.Attrs}, nil
}

func (r *logReader) Close() error {
	r.cancel()
	return r.Reader.Close()
}

// The log drivers. local is json-file under another name and with limits of its
// own: its format is nobody's but the engine's.
const (
	logJSON  = "json-file"
	logLocal = "local"
	logNone  = "none"
)

// ContainerLogs opens a container's log; tty tells that it is one stream.
func (e *Engine) ContainerLogs(ctx context.Context, ref string, opts LogOptions) (r LogReader, tty bool, err error) {
	c, err := e.find(ref)
	if err != nil {
		return nil, false, err
	}
	rec := c.record()
	if rec.HostConfig.LogConfig.Type == logNone {
		return nil, false, fmt.Errorf("configured logging driver does not support reading: %w", errdefs.ErrNotImplemented)
	}
	raw, err := jsonlog.Open(c.logPath(), jsonlog.Options{Tail: opts.Tail, Since: opts.Since, Until: opts.Until, Follow: opts.Follow, Stdout: opts.Stdout, Stderr: opts.Stderr})
	if err != nil {
		return nil, false, fmt.Errorf("logs of container %q: %w", rec.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	if opts.Follow {
		go func() {
			defer raw.Finish()
			c.await(ctx, func() (bool, error) { return c.gone || !c.st.alive() && c.st.Status != container.StateRestarting, nil })
		}()
	}
	return &logReader{Reader: raw, ctx: ctx, cancel: cancel}, rec.Config.Tty, nil
}

// lastLines are the last n lines of a container's log, for error messages;
// none when there is no log.
func (e *Engine) lastLines(c *ctr, n int) []string {
	r, err := jsonlog.Open(c.logPath(), jsonlog.Options{Tail: n})
	if err != nil {
		return nil
	}
	defer r.Close()
	var out []string
	for len(out) < n {
		entry, err := r.Next(e.ctx)
		if err != nil {
			break
		}
		out = append(out, strings.TrimRight(string(entry.Line), "\r\n"))
	}
	return out
}

// logLimits reads a log driver's options; what is not given or cannot be read
// is left to the log's defaults, or, for the driver local, to Docker's.
// checkLogConfig has refused the latter.
func logLimits(driver string, opts map[string]string) (maxSize int64, maxFile int) {
	if driver == logLocal {
		maxSize, maxFile = 20_000_000, 5
	}
	if s := opts["max-size"]; s != "" {
		maxSize, _ = units.RAMInBytes(s)
	}
	if s := opts["max-file"]; s != "" {
		maxFile, _ = strconv.Atoi(s)
	}
	return maxSize, maxFile
}

// CheckLogDefaults refuses log drivers and options that containers cannot have
// by default.
func CheckLogDefaults(driver string, opts map[string]string) error {
	return checkLogConfig(driver, opts)
}

// logWarnings tells of options that change nothing here.
func logWarnings(c container.LogConfig) []string {
	if on, err := strconv.ParseBool(c.Config["compress"]); err == nil && on && c.Type != logLocal {
		return []string{"Log option compress has no effect: files that were rotated are not compressed."}
	}
	return nil
}

// checkLogConfig refuses log drivers and options that would not be honoured.
func checkLogConfig(driver string, opts map[string]string) error {
	if _, err := logAttrs(&record{}, opts); err != nil {
		return err
	}
	switch driver {
	case "", logJSON, logLocal, logNone:
	default:
		return fmt.Errorf("log driver %q is not supported, use json-file, local or none: %w", driver, errdefs.ErrInvalidArgument)
	}
	for k, v := range opts {
		var err error
		switch {
		case driver == logNone:
			err = fmt.Errorf("the driver none takes no options")
		case k == "max-size":
			_, err = units.RAMInBytes(v)
		case k == "max-file":
			var n int
			if n, err = strconv.Atoi(v); err == nil && n < 1 {
				err = fmt.Errorf("must be at least 1")
			}
		case k == "labels", k == "env", k == "labels-regex", k == "env-regex", k == "tag": // logAttrs has looked at them
		case k == "mode" && (v == "blocking" || v == "non-blocking"): // output goes to a file at once
		case k == "max-buffer-size":
			if _, err = units.RAMInBytes(v); err == nil && opts["mode"] != "non-blocking" {
				err = fmt.Errorf("is for mode=non-blocking")
			}
		case k == "compress":
			_, err = strconv.ParseBool(v)
		default:
			err = fmt.Errorf("is not supported")
		}
		if err != nil {
			return fmt.Errorf("log option %s=%q: %v: %w", k, v, err, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
