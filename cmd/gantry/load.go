package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/terminal"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/spf13/cobra"
)

type loadOptions struct {
	input string
	quiet bool
}

func newLoadCommand(c *cli) *cobra.Command {
	var o loadOptions
	cmd := &cobra.Command{
		Use: "load [OPTIONS]", Short: "Load images from an OCI or Docker archive, or from standard input", Args: exactArgs(0),
		RunE: c.run(func(ctx context.Context, _ []string) error { return runLoad(ctx, c, o) }),
	}
	cmd.Flags().StringVarP(&o.input, "input", "i", "", "Read from tar archive file, instead of STDIN")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the load output")
	return cmd
}

func runLoad(ctx context.Context, c *cli, o loadOptions) error {
	in, name := c.in, "standard input"
	if o.input != "" {
		f, err := os.Open(o.input)
		if err != nil {
			return fmt.Errorf("--input: %w", err)
		}
		defer f.Close()
		in, name = f, filepath.Base(o.input)
	} else if terminal.Is(c.in) {
		return usagef("requested load from stdin, but stdin is a terminal: use --input FILE, or gantry load < FILE")
	}
	api, err := c.engine()
	if err != nil {
		return err
	}
	defer api.Close()
	body, err := api.ImageLoad(ctx, in)
	if err != nil {
		return err
	}
	defer body.Close()
	d := c.display(true)
	if o.quiet {
		d = progress.New(progress.Options{Mode: progress.Quiet})
	}
	loaded, err := showLoad(body, name, d)
	d.Close()
	if !o.quiet {
		for _, l := range loaded {
			fmt.Fprintln(c.out, l)
		}
	}
	return err
}

// showLoad turns the answer to a load into events, and returns the lines that
// name what was loaded.
func showLoad(body io.Reader, name string, d progress.Display) (loaded []string, err error) {
	event := scheduler.Event{Kind: "archive", Name: name, Verb: "load", Status: scheduler.StatusStarted}
	d.Event(event)
	defer func() {
		event.Status, event.Progress = scheduler.StatusDone, scheduler.Progress{}
		if err != nil {
			event.Status, event.Error = scheduler.StatusFailed, err.Error()
		}
		d.Event(event)
	}()
	messages := json.NewDecoder(body)
	for {
		var m jsonstream.Message
		if err := messages.Decode(&m); errors.Is(err, io.EOF) {
			return loaded, nil
		} else if err != nil {
			return loaded, fmt.Errorf("load %s: %w (%w)", name, err, errdefs.ErrUnavailable)
		}
		switch {
		case m.Error != nil:
			return loaded, fmt.Errorf("load %s: %s", name, m.Error.Message)
		case m.Stream != "":
			loaded = append(loaded, strings.TrimSuffix(m.Stream, "\n"))
		case m.ID != "":
			event.Status, event.Progress = scheduler.StatusProgress, scheduler.Progress{ID: m.ID, Text: m.Status}
			if m.Progress != nil {
				event.Progress.Current, event.Progress.Total = m.Progress.Current, m.Progress.Total
			}
			d.Event(event)
		}
	}
}
