package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"

	"gantry/cmd/gantry/docker"
	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/terminal"
	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
)

// Exit codes. Source: Docker Compose's metrics.FailureCategory.
const (
	exitFailure      = 1
	exitFileNotFound = 14
	exitParse        = 15
	exitUsage        = 16
	exitBuild        = 17
	exitPull         = 18
	exitInterrupted  = 130
)

// errInterrupted is the cause when the user has pressed Ctrl-C.
var errInterrupted = fmt.Errorf("interrupted: %w", context.Canceled)

// exitError ends the process with a code; without err nothing is printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &exitError{code: exitUsage, err: fmt.Errorf(format, args...)}
}

func usageError(cmd *cobra.Command, err error) error {
	return usagef("%v; see '%s --help'", err, cmd.CommandPath())
}

// exitCode says what the process ends with.
func exitCode(err error) int {
	var exit *exitError
	var told *docker.Exit
	var load *project.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &told):
		return told.Code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &load):
		if !errdefs.IsNotFound(load) {
			return exitParse
		}
		if !strings.Contains(load.Error(), "no such service") {
			return exitFileNotFound
		}
	}
	return exitFailure
}

// finish prints an error and returns the process's exit code.
func (c *cli) finish(err error) int {
	code := exitCode(err)
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.err == nil || errors.As(err, new(*docker.Exit)) {
		return code
	}
	if better := c.explain(err); better != nil && code != exitInterrupted {
		err = better
	}
	if c.global.progress == "json" {
		b, _ := json.Marshal(map[string]any{"error": true, "message": readable(err.Error())})
		fmt.Fprintf(c.err, "%s\n", b)
		return code
	}
	if code == exitInterrupted {
		fmt.Fprintln(c.err, "gantry: canceled")
		return code
	}
	fmt.Fprintln(c.err, "gantry: "+strings.ReplaceAll(terminal.Text(readable(err.Error())), "\n", "\n        "))
	return code
}

// explain says what has become of the daemon, if that is what an error is
// about, and nil otherwise. What the HTTP client makes of it says less.
func (c *cli) explain(err error) error {
	if failure := c.conn.failed(); failure != nil {
		err = failure
	} else if !lost(err) {
		return nil
	}
	if lost(err) {
		return fmt.Errorf("the connection to the daemon was lost; containers run on, repeat the command: %w", err)
	}
	return err
}

// lost says that the daemon has gone away in the middle of an answer.
func lost(err error) bool {
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

var (
	multiHead  = regexp.MustCompile(`(?m)^(.*?)\d+ errors? occurred:\n`)
	multiItem  = regexp.MustCompile(`(?m)^\s*\* `)
	blankLines = regexp.MustCompile(`\n\s*\n+`)
	// a class of error that tells people nothing
	precondition = regexp.MustCompile(`(?m): failed precondition$`)
)

// readable turns the text of joined errors into one line per error, without
// the HTTP client's preamble.
func readable(text string) string {
	text = strings.ReplaceAll(text, "Error response from daemon: ", "")
	text = multiHead.ReplaceAllString(text, "$1\n")
	text = multiItem.ReplaceAllString(text, "")
	text = blankLines.ReplaceAllString(text, "\n")
	text = precondition.ReplaceAllString(text, "")
	return progress.Brief(strings.TrimPrefix(strings.TrimSpace(text), "gantry: "))
}
