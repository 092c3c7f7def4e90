package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/remote"
	"gantry/cmd/gantry/terminal"

	"github.com/spf13/cobra"
)

// cli is what the verbs share: the streams, the flags before the verb, and the
// way to the daemon.
type cli struct {
	name     string // as which the binary was called
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	global   globals
	conn     *connection
	remote   *remote.Fetcher
}

func newCLI(name string, in io.Reader, out, err io.Writer) *cli {
	c := &cli{name: filepath.Base(name), in: in, out: out, err: err, getenv: os.Getenv}
	c.conn = &connection{start: startDaemon, host: func() string { return daemonHost(c.name, c.global.host, c.getenv) }}
	c.remote = &remote.Fetcher{Credentials: c.registryCredentials}
	if cache, err := os.UserCacheDir(); err == nil {
		c.remote.Cache = filepath.Join(cache, "gantry", "compose")
	}
	return c
}

// verb is a command's function: what remains when flags are parsed.
type verb func(ctx context.Context, args []string) error

// run makes a verb cobra's. Its context ends when the user presses Ctrl-C.
func (c *cli) run(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		err := v(ctx, args)
		if err != nil && context.Cause(ctx) == errInterrupted {
			return errInterrupted
		}
		return err
	}
}

// endless is run for verbs that Ctrl-C ends as a rule: it needs no word.
func (c *cli) endless(v verb) func(*cobra.Command, []string) error {
	run := c.run(v)
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if err == errInterrupted {
			return &exitError{code: exitInterrupted}
		}
		return err
	}
}

// raw is run for verbs that handle signals themselves.
func (c *cli) raw(v verb) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error { return v(cmd.Context(), args) }
}

// interruptible ends with errInterrupted at the first SIGINT or SIGTERM; the
// next one ends the process.
func interruptible(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
		signal.Stop(signals)
	}()
	return ctx, func() { cancel(nil) }
}

// projects is the client of the project routes.
func (c *cli) projects() *client.Client { return client.New(c.conn.dial) }

// color says whether to write colours to a stream. Source: no-color.org.
func (c *cli) color(w io.Writer) bool {
	switch c.global.ansi {
	case "never":
		return false
	case "always":
		return true
	}
	return c.getenv("NO_COLOR") == "" && terminal.Is(w)
}

// display shows progress on standard error.
func (c *cli) display(layers bool) progress.Display {
	mode := progress.Mode(c.global.progress)
	if mode == progress.Auto || mode == "" {
		mode, layers = progress.Plain, layers && terminal.Is(c.err) // elsewhere an image is enough
		if terminal.Is(c.err) && c.global.ansi != "never" && c.getenv("TERM") != "dumb" {
			mode = progress.TTY
		}
	}
	return progress.New(progress.Options{
		Mode: mode, Out: c.err, Color: c.color(c.err), Layers: layers, Causes: c.global.verbose, Now: time.Now,
		Size: func() (int, int) { return terminal.Size(c.err) },
	})
}

// above is w for text that is printed while a display is open.
func above(d progress.Display, w io.Writer) io.Writer {
	if terminal.Is(w) {
		return d.Above(w)
	}
	return w
}

// holder says who we are to those who wait for the project.
func holder(v client.Verb) string { return fmt.Sprintf("gantry %s %s", v, ownPID()) }

func ownPID() string { return fmt.Sprintf("(pid %d)", os.Getpid()) }

// envBool reads a boolean from the environment; anything malformed is false.
func (c *cli) envBool(name string) bool {
	v, err := strconv.ParseBool(c.getenv(name))
	return err == nil && v
}
