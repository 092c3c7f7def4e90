package docker

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	api "gantry/api/client"
	"gantry/cmd/gantry/terminal"

	"github.com/docker/cli/cli"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	solverrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/progress/progressui"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
)

// addBuild puts our build command where docker has its own.
func (f *Front) addBuild(root *cobra.Command) {
	if f.Only == nil {
		root.AddCommand(f.buildxCommand())
	}
	for _, parent := range append(root.Commands(), root) {
		switch {
		case parent == root && f.Only != nil: // there it is the verb of compose
		case parent == root, parent.Name() == "image", parent.Name() == "builder", parent.Name() == "buildx":
			replace(parent, f.buildCommand())
		}
		if parent.Name() == "builder" {
			replace(parent, f.pruneCommand())
		}
	}
}

// replace adds a command in place of one of the same name.
func replace(parent, cmd *cobra.Command) {
	for _, old := range parent.Commands() {
		if old.Name() == cmd.Name() {
			parent.RemoveCommand(old)
		}
	}
	parent.AddCommand(cmd)
}

// buildCommand is "docker build": BuildKit's client on the daemon's own
// connection, without a plugin.
func (f *Front) buildCommand() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build [OPTIONS] PATH | URL | -",
		Short: "Build an image from a Dockerfile",
		Args:  cli.ExactArgs(1),

		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.given = cmd.Flags().Changed
			return f.build(cmd.Context(), &o, args[0])
		},
	}
	o.flags(cmd.Flags())
	return cmd
}

// kit is BuildKit's client.
func (f *Front) kit(ctx context.Context) (*buildkit.Client, error) {
	api := f.cli.Client()
	return buildkit.New(ctx, "", buildkit.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return api.DialHijack(ctx, "/grpc", "h2c", nil)
	}), buildkit.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
		return api.DialHijack(ctx, "/session", proto, meta)
	}))
}

func (f *Front) build(ctx context.Context, o *buildOptions, source string) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	solve, err := f.solveOptions(ctx, o, source)
	if err != nil {
		return f.explainBuild(ctx, err)
	}
	for name, files := range solve.LocalMounts {
		solve.LocalMounts[name] = WholeContext(files, func(err error) { fail(fmt.Errorf("ERROR: failed to build: %w", err)) })
	}
	kit, err := f.kit(ctx)
	if err != nil {
		return err
	}
	defer kit.Close()
	call, err := o.subrequest()
	if err != nil {
		return err
	}
	if call != nil {
		return f.call(ctx, kit, solve, call)
	}
	resp, err := f.shown(ctx, o, func(status chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error) {
		return kit.Solve(ctx, nil, solve, status)
	})
	if err = settle(o.files, err); err != nil {
		return f.explainBuild(ctx, err)
	}
	return f.built(ctx, o, resp.ExporterResponse)
}

// shown runs a build with a display of its progress on stderr.
func (f *Front) shown(ctx context.Context, o *buildOptions, run func(chan *buildkit.SolveStatus) (*buildkit.SolveResponse, error)) (*buildkit.SolveResponse, error) {
	mode := progressui.DisplayMode(o.progress)
	switch o.progress {
	case "auto":
		if set := f.Getenv("BUILDKIT_PROGRESS"); set != "" && !o.quiet {
			mode = progressui.DisplayMode(set)
		}
	case "quiet": // that is --quiet; without a word of the image it is none
		o.quiet = true
	case "none":
		mode = progressui.QuietMode
	}
	if o.quiet {
		if mode == progressui.PlainMode || mode == progressui.TtyMode || mode == progressui.RawJSONMode {
			return nil, fmt.Errorf("progress=%s and quiet cannot be used together", mode)
		}
		mode = progressui.QuietMode
	}
	display, err := progressui.NewDisplay(f.Err, mode)
	if err != nil {
		return nil, err
	}
	status, shown := make(chan *buildkit.SolveStatus), make(chan []buildkit.VertexWarning, 1)
	go func() {
		told := status
		if mode != progressui.RawJSONMode {
			told = ForPeople(status)
		}
		warnings, _ := display.UpdateFrom(context.WithoutCancel(ctx), told) // it ends with the channel
		shown <- warnings
	}()
	resp, err := run(status)
	if ctx.Err() != nil { // nobody waits for the last of it
		return nil, context.Cause(ctx)
	}
	if warnings := <-shown; err == nil && mode != progressui.QuietMode && mode != progressui.RawJSONMode {
		expand := f.Name + " --debug"
		if logrus.IsLevelEnabled(logrus.DebugLevel) {
			expand = ""
		}
		PrintWarnings(f.Err, warnings, expand)
	}
	return resp, err
}

func firstNonEmpty(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// explainBuild shows the place in the Dockerfile.
func (f *Front) explainBuild(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var places strings.Builder
	for _, s := range solverrors.Sources(err) {
		s.Print(&places)
	}
	fmt.Fprint(f.Err, terminal.Text(places.String()))
	if grpcerrors.Code(err) == codes.Unavailable && strings.Contains(err.Error(), "reading from server") {
		err = fmt.Errorf("the daemon has ended; build again, steps that were done are cached: %w", err)
	}
	err = fmt.Errorf("ERROR: failed to build: %w", err)
	if text := api.WithAdvice(err.Error()) + advice(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}

// What BuildKit refuses for want of a flag.
var (
	notAllowed = regexp.MustCompile(`(network\.host|security\.insecure) is not allowed$`)
	noAgent    = regexp.MustCompile(`no SSH key "(.*)" forwarded from the client`)
)

// advice is which flag an error asks for, "" for none.
func advice(text string) string {
	if m := notAllowed.FindStringSubmatch(text); m != nil {
		return ": if you trust the Dockerfile, use --allow " + m[1]
	}
	if m := noAgent.FindStringSubmatch(text); m != nil {
		return ": use --ssh " + firstNonEmpty(m[1], "default")
	}
	return ""
}

// built writes what the caller asked to know of the result.
func (f *Front) built(ctx context.Context, o *buildOptions, resp map[string]string) error {
	if o.metadata != "" {
		if err := writeMetadata(o.metadata, resp); err != nil {
			return err
		}
	}
	if !o.quiet && o.iidfile == "" {
		return nil
	}
	id := firstNonEmpty(resp[exptypes.ExporterImageConfigDigestKey], resp[exptypes.ExporterImageDigestKey])
	if id == "" {
		return nil // the result is no image
	}
	if img, err := f.cli.Client().ImageInspect(ctx, id); err == nil { // else it is not in the image store
		id = img.ID
	}
	if o.iidfile != "" {
		if err := os.WriteFile(o.iidfile, []byte(id), 0o644); err != nil {
			return fmt.Errorf("--iidfile: %w", err)
		}
	}
	if o.quiet {
		fmt.Fprintln(f.Out, id)
	}
	return nil
}

// writeMetadata writes what exporters said: of values in base64 what they hold.
func writeMetadata(path string, resp map[string]string) error {
	out := map[string]any{}
	for k, v := range resp {
		out[k] = v
		if data, err := base64.StdEncoding.DecodeString(v); err == nil && json.Valid(data) && len(data) > 0 && data[0] == '{' {
			out[k] = json.RawMessage(data)
		}
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	if path == "-" {
		path = os.Stdout.Name()
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("--metadata-file: %w", err)
	}
	return nil
}
