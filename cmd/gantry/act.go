package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/scheduler"

	"github.com/spf13/cobra"
)

// act has the daemon carry a verb out and shows how it gets on; with --dry-run
// it prints the plan instead.
func act[O any](ctx context.Context, c *cli, t target, v client.Verb, services []string, options O) error {
	if c.global.dryRun {
		return dryRun(ctx, c, t, v, services, options)
	}
	d := c.display(true)
	defer d.Close()
	return do(ctx, c, t, v, services, options, d)
}

// do has the daemon carry a verb out, with a display of the caller's.
func do[O any](ctx context.Context, c *cli, t target, v client.Verb, services []string, options O, d progress.Display) error {
	api := c.projects()
	defer api.Close()
	var failed atomic.Int32
	err := client.Do(ctx, api, t.name, v, request(ctx, c, t, v, services, options), func(e scheduler.Event) {
		if e.Kind == client.KindWaiting && strings.HasSuffix(e.Progress.Text, ownPID()) {
			return // for what we have called off ourselves
		}
		if e.Status == scheduler.StatusFailed && !e.Optional {
			switch e.Verb {
			case "pull":
				failed.Store(exitPull)
			case "build":
				failed.Store(exitBuild)
			}
		}
		d.Event(e)
	})
	if code := int(failed.Load()); err != nil && code != 0 {
		return &exitError{code, err}
	}
	return err
}

// doBuilding is do for verbs that may build images: sessions have what those are
// built from.
func doBuilding[O any](ctx context.Context, c *cli, t target, v client.Verb, services []string, d progress.Display, options func(sessions map[string]string) O) error {
	s, err := c.sessions(ctx, t.definition)
	if err != nil {
		return err
	}
	defer s.close()
	err = do(s.ctx, c, t, v, services, options(s.ids), s.watching(d))
	if cause := context.Cause(s.ctx); cause != nil && ctx.Err() == nil {
		return cause
	}
	if kept := s.keepCaches(); err == nil {
		err = kept
	}
	return err
}

func dryRun[O any](ctx context.Context, c *cli, t target, v client.Verb, services []string, options O) error {
	api := c.projects()
	defer api.Close()
	plan, err := client.Plan(ctx, api, t.name, v, request(ctx, c, t, v, services, options))
	if err != nil {
		return err
	}
	for _, w := range plan.Warnings {
		fmt.Fprintln(c.err, "warning: "+w)
	}
	if plan.Text == "" {
		fmt.Fprintf(c.err, "nothing to do: project %q is as it should be\n", t.name)
		return nil
	}
	_, err = io.WriteString(c.out, plan.Text)
	return err
}

func request[O any](ctx context.Context, c *cli, t target, v client.Verb, services []string, options O) client.Request[O] {
	return client.Request[O]{
		Project: t.definition, Services: services, Holder: holder(v),
		Parallel: max(0, c.global.parallel), Credentials: c.credentials(ctx, t, v), Options: options,
	}
}

// secondsFlag is a flag in seconds, nil when it was not given.
func secondsFlag(cmd *cobra.Command, name string) *time.Duration {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	n, err := cmd.Flags().GetInt(name)
	if err != nil {
		return nil // every caller has declared the flag
	}
	d := time.Duration(n) * time.Second
	return &d
}

// rewound reads all of in at most once, and gives it out whole whenever it is
// read to its end.
func rewound(in io.Reader) io.Reader { return &rewinder{in: in} }

type rewinder struct {
	in   io.Reader
	all  []byte
	read bool
	now  *bytes.Reader
}

func (r *rewinder) Read(p []byte) (int, error) {
	if !r.read {
		all, err := io.ReadAll(r.in)
		if err != nil {
			return 0, err
		}
		r.all, r.read, r.now = all, true, bytes.NewReader(all)
	}
	n, err := r.now.Read(p)
	if err == io.EOF {
		r.now = bytes.NewReader(r.all)
	}
	return n, err
}
