package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"gantry/cmd/gantry/terminal"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command"
)

// Exit is the end of a command that has said what there is to say.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// finish tells an error as docker does, and gives the process's exit code. Why
// the daemon cannot be reached is told in our words.
func (f *Front) finish(ctx context.Context, err error) error {
	code, text := outcome(ctx, err)
	if code == 0 {
		return nil
	}
	if failure := f.Explain(err); failure != nil && text != "" {
		text = f.Name + ": " + strings.TrimPrefix(failure.Error(), f.Name+": ")
		if code == 126 || code == 127 { // those are about a command that is missing in a container
			code = 125
		}
	}
	if text != "" {
		fmt.Fprintln(f.Err, terminal.Text(text))
	}
	return &Exit{Code: code}
}

// outcome is the exit code and the text of an error. Source: the docker CLI's
// main.
func outcome(ctx context.Context, err error) (code int, text string) {
	var status cli.StatusError
	var ended terminated
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &ended):
		return 128 + int(ended.signal), ""
	case errors.As(err, &status) && status.StatusCode != 0:
		return status.StatusCode, err.Error()
	case errors.As(context.Cause(ctx), &ended): // a stream that is cut has many words for it
		return 128 + int(ended.signal), ""
	case errdefs.IsCanceled(err): // at a prompt
		return 0, ""
	}
	return 1, err.Error()
}

// terminated is a context's cause when a signal ended it.
type terminated struct{ signal syscall.Signal }

func (t terminated) Error() string { return t.signal.String() }

var termination = []os.Signal{syscall.SIGTERM, syscall.SIGINT}

// interruptible ends with terminated at the first SIGINT or SIGTERM.
func interruptible(ctx context.Context) (context.Context, func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, termination...)
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case s := <-signals:
			cancel(terminated{s.(syscall.Signal)})
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	return ctx, func() { cancel(nil) }
}

// leaveAtThird ends a process that does not heed its context, at the third
// signal.
func leaveAtThird(ctx context.Context, streams command.Streams) {
	<-ctx.Done()
	if !errors.As(context.Cause(ctx), &terminated{}) {
		return
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, termination...)
	for range 2 {
		<-signals
	}
	streams.In().RestoreTerminal()
	streams.Out().RestoreTerminal()
	streams.Err().RestoreTerminal()
	fmt.Fprintln(streams.Err(), "\ngot 3 SIGTERM/SIGINTs, forcefully exiting")
	os.Exit(1)
}
