package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gantry/cmd/gantry/terminal"

	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type execOptions struct {
	detach, noTTY, askTTY, interactive, privileged bool
	env                                            []string
	index                                          int
	user, workdir                                  string
}

func newExecCommand(c *cli) *cobra.Command {
	var o execOptions
	cmd := &cobra.Command{
		Use: "exec [OPTIONS] SERVICE COMMAND [ARGS...]", Short: "Execute a command in a running container",
		Args: minimumArgs(2), ValidArgsFunction: c.oneService,
		RunE: c.run(func(ctx context.Context, args []string) error { return runExec(ctx, c, o, args[0], args[1:]) }),
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: Run command in the background")
	f.StringArrayVarP(&o.env, "env", "e", nil, "Set environment variables")
	f.IntVar(&o.index, "index", 0, "Index of the container if service has multiple replicas")
	f.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to the process")
	f.StringVarP(&o.user, "user", "u", "", "Run the command as this user")
	f.BoolVarP(&o.noTTY, "no-tty", "T", !terminal.Is(c.out), "Disable pseudo-TTY allocation. By default 'gantry exec' allocates a TTY.")
	f.StringVarP(&o.workdir, "workdir", "w", "", "Path to workdir directory for this command")
	f.BoolVarP(&o.interactive, "interactive", "i", true, "Keep STDIN open even if not attached")
	f.BoolVarP(&o.askTTY, "tty", "t", true, "Allocate a pseudo-TTY")
	f.MarkHidden("interactive")
	f.MarkHidden("tty")
	f.SetNormalizeFunc(noTTYAlias)
	return cmd
}

func runExec(ctx context.Context, c *cli, o execOptions, service string, command []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	found, err := oneContainer(ctx, api, t, service, o.index, false)
	if err != nil {
		return err
	}
	tty := !o.noTTY && o.askTTY && !o.detach && terminal.Is(c.out) && (!o.interactive || terminal.Is(c.in))
	size := engine.ConsoleSize{}
	if tty {
		w, h := terminal.Size(c.out)
		size = engine.ConsoleSize{Width: uint(w), Height: uint(h)}
	}
	created, err := api.ExecCreate(ctx, found.ID, engine.ExecCreateOptions{
		User: o.user, Privileged: o.privileged, TTY: tty, ConsoleSize: size,
		AttachStdin: o.interactive && !o.detach, AttachStdout: !o.detach, AttachStderr: !o.detach,
		Env: fromEnvironment(o.env, c.getenv), WorkingDir: o.workdir, Cmd: slices.Clone(command),
	})
	if err != nil {
		return err
	}
	if o.detach {
		_, err := api.ExecStart(ctx, created.ID, engine.ExecStartOptions{Detach: true})
		return err
	}
	hijacked, err := api.ExecAttach(ctx, created.ID, engine.ExecAttachOptions{TTY: tty, ConsoleSize: size})
	if err != nil {
		return err
	}
	s := terminal.Session{
		Out: c.out, Err: c.err, TTY: tty, DetachKeys: terminal.DefaultDetachKeys,
		Resize: func(ctx context.Context, w, h int) error {
			_, err := api.ExecResize(ctx, created.ID, engine.ExecResizeOptions{Width: uint(w), Height: uint(h)})
			return err
		},
	}
	if o.interactive {
		s.In = c.in
	}
	if err := s.Run(ctx, connTo(hijacked.HijackedResponse)); err != nil {
		if err == terminal.ErrDetached {
			fmt.Fprintln(c.err, "\ndetached; it runs on")
			return nil
		}
		return err
	}
	code, err := execCode(ctx, api, created.ID)
	if err != nil {
		return fmt.Errorf("exit code of the command: %w", err)
	}
	if code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// execSettled bounds how long a command may count as running after its streams
// have ended: so they do at once when the container's shim is killed.
const execSettled = 10 * time.Second

// execCode asks for the exit code of a command whose streams have ended.
func execCode(ctx context.Context, api *engine.Client, id string) (int, error) {
	for end := time.Now().Add(execSettled); ; {
		got, err := api.ExecInspect(ctx, id, engine.ExecInspectOptions{})
		if err != nil || !got.Running {
			return got.ExitCode, err
		}
		if time.Now().After(end) {
			return 137, nil
		}
		select {
		case <-time.After(50 * time.Millisecond): // the API has no event that a late listener could not miss
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func connTo(h engine.HijackedResponse) terminal.Conn {
	return terminal.Conn{Output: h.Reader, Input: h.Conn, CloseInput: h.CloseWrite, Close: h.Conn.Close}
}
