package main

import (
	"context"
	"fmt"
	"io"

	"gantry/cmd/gantry/terminal"

	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type attachOptions struct {
	detachKeys string
	index      int
	noStdin    bool
	sigProxy   bool
}

func newAttachCommand(c *cli) *cobra.Command {
	var o attachOptions
	cmd := &cobra.Command{
		Use: "attach [OPTIONS] SERVICE", Short: "Attach local standard input, output, and error streams to a service's running container",
		Args: exactArgs(1), ValidArgsFunction: c.oneService,
		RunE: c.raw(func(ctx context.Context, args []string) error { return runAttach(ctx, c, o, args[0]) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.detachKeys, "detach-keys", terminal.DefaultDetachKeys, "Override the key sequence for detaching from a container.")
	f.IntVar(&o.index, "index", 0, "index of the container if service has multiple replicas.")
	f.BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	f.BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	return cmd
}

func runAttach(ctx context.Context, c *cli, o attachOptions, service string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	found, err := oneContainer(ctx, api, t, service, o.index, false)
	if err != nil {
		return err
	}
	inspected, err := api.ContainerInspect(ctx, found.ID, engine.ContainerInspectOptions{})
	if err != nil {
		return err
	}
	config := inspected.Container.Config
	stdin := !o.noStdin && config.OpenStdin
	p := process{c: c, api: api, id: found.ID, tty: config.Tty, detachKeys: o.detachKeys}
	if stdin {
		p.in = c.in
	}
	wait := p.wait(ctx, container.WaitConditionNotRunning)
	conn, err := p.attach(ctx)
	if err != nil {
		return err
	}
	if o.sigProxy && !config.Tty {
		defer p.proxySignals(ctx)()
	} else {
		var stop func()
		ctx, stop = interruptible(ctx)
		defer stop()
	}
	return p.follow(ctx, conn, wait)
}

// process is a container whose streams are the user's.
type process struct {
	c          *cli
	api        *engine.Client
	id         string
	tty        bool
	in         io.Reader // nil: no input
	detachKeys string
}

// wait registers for the container's end.
func (p process) wait(ctx context.Context, condition container.WaitCondition) engine.ContainerWaitResult {
	return p.api.ContainerWait(ctx, p.id, engine.ContainerWaitOptions{Condition: condition})
}

func (p process) attach(ctx context.Context) (terminal.Conn, error) {
	hijacked, err := p.api.ContainerAttach(ctx, p.id, engine.ContainerAttachOptions{
		Stream: true, Stdin: p.in != nil, Stdout: true, Stderr: true, DetachKeys: p.detachKeys,
	})
	if err != nil {
		return terminal.Conn{}, err
	}
	return connTo(hijacked.HijackedResponse), nil
}

// follow carries the streams and returns the container's exit code as an
// error, nil for 0 and after detaching.
func (p process) follow(ctx context.Context, conn terminal.Conn, wait engine.ContainerWaitResult) error {
	s := terminal.Session{
		In: p.in, Out: p.c.out, Err: p.c.err, TTY: p.tty, DetachKeys: p.detachKeys,
		Resize: func(ctx context.Context, w, h int) error {
			_, err := p.api.ContainerResize(ctx, p.id, engine.ContainerResizeOptions{Width: uint(w), Height: uint(h)})
			return err
		},
	}
	if err := s.Run(ctx, conn); err == terminal.ErrDetached {
		fmt.Fprintln(p.c.err, "\ndetached; it runs on")
		return nil
	} else if err != nil {
		return err
	}
	select {
	case end := <-wait.Result:
		if end.StatusCode != 0 {
			return &exitError{code: int(end.StatusCode)}
		}
		return nil
	case err := <-wait.Error:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
