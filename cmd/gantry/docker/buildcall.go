package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strconv"
	"strings"

	"gantry/cmd/gantry/terminal"

	"github.com/docker/cli/cli"
	buildkit "github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/frontend/subrequests"
	"github.com/moby/buildkit/frontend/subrequests/lint"
	"github.com/moby/buildkit/frontend/subrequests/outline"
	"github.com/moby/buildkit/frontend/subrequests/targets"
	solverrors "github.com/moby/buildkit/solver/errdefs"
	"github.com/tonistiigi/go-csvvalue"
)

// subrequest is a question to the frontend about the Dockerfile.
type subrequest struct {
	id           string
	print        func([]byte, io.Writer) error
	json         bool // the answer as it is
	ignoreStatus bool // warnings are no failure
}

// subrequest is what is asked for instead of a build, nil for a build. Source:
// buildx, --call NAME[,format=json][,ignorestatus=true].
func (o *buildOptions) subrequest() (*subrequest, error) {
	text := o.callName
	if o.check {
		text = "check"
	}
	if text == "" {
		return nil, nil
	}
	fields, err := csvvalue.Fields(text, nil)
	if err != nil {
		return nil, fmt.Errorf("--call %q: %w", text, err)
	}
	var q subrequest
	switch fields[0] {
	case "build":
		return nil, nil
	case "check", "lint":
		q.id = lint.RequestLint
	case "outline":
		q.id, q.print = outline.RequestSubrequestsOutline, outline.PrintOutline
	case "targets":
		q.id, q.print = targets.RequestTargets, targets.PrintTargets
	case "subrequests.describe":
		q.id, q.print = subrequests.RequestSubrequestsDescribe, subrequests.PrintDescribe
	default:
		return nil, fmt.Errorf("--call %q: use build, check, outline or targets", text)
	}
	for _, field := range fields[1:] {
		switch k, v, _ := strings.Cut(field, "="); k {
		case "format":
			if v != "json" && v != "text" {
				return nil, fmt.Errorf("--call %q: format %q is not known: use json or text", text, v)
			}
			q.json = v == "json"
		case "ignorestatus":
			if q.ignoreStatus, err = strconv.ParseBool(v); err != nil {
				return nil, fmt.Errorf("--call %q: invalid ignorestatus print value: %s", text, v)
			}
		default:
			return nil, fmt.Errorf("--call %q: invalid print field: %s", text, field)
		}
	}
	return &q, nil
}

// call asks the frontend about the Dockerfile instead of building it.
func (f *Front) call(ctx context.Context, kit *buildkit.Client, solve buildkit.SolveOpt, q *subrequest) error {
	solve.Exports, solve.CacheExports, solve.Internal = nil, nil, true
	solve.FrontendAttrs["requestid"] = q.id
	solve.FrontendAttrs["frontend.caps"] = "moby.buildkit.frontend.subrequests"
	var said map[string][]byte
	attrs := maps.Clone(solve.FrontendAttrs)
	solve.Frontend = ""
	_, err := kit.Build(ctx, solve, "gantry", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		res, err := c.Solve(ctx, gateway.SolveRequest{Frontend: "dockerfile.v0", FrontendOpt: attrs})
		if err == nil {
			said = res.Metadata
		}
		return res, err
	}, nil)
	if err != nil {
		return f.explainBuild(ctx, err)
	}
	switch {
	case q.json:
		fmt.Fprintln(f.Out, string(said["result.json"]))
	case q.id == lint.RequestLint:
		err = printLint(f.Out, said["result.json"])
	default:
		err = q.print(said["result.json"], f.Out)
	}
	if code, serr := strconv.Atoi(string(said["result.statuscode"])); err == nil && serr == nil && code != 0 && !q.ignoreStatus {
		return cli.StatusError{StatusCode: code}
	}
	return err
}

// printLint shows what is wrong with a Dockerfile; what makes it no Dockerfile
// is an error.
func printLint(w io.Writer, result []byte) error {
	var found lint.LintResults
	if err := json.Unmarshal(result, &found); err != nil {
		return fmt.Errorf("--check: %w", err)
	}
	switch n := len(found.Warnings); {
	case n == 1:
		fmt.Fprintln(w, "Check complete, 1 warning has been found!")
	case n > 1:
		fmt.Fprintf(w, "Check complete, %d warnings have been found!\n", n)
	case found.Error == nil:
		fmt.Fprintln(w, "Check complete, no warnings found.")
	}
	if err := found.PrintTo(w, nil); err != nil || found.Error == nil {
		return err
	}
	var text bytes.Buffer
	if len(found.Warnings) > 0 {
		fmt.Fprintln(w)
	}
	found.PrintErrorTo(&text, nil)
	return errors.New(text.String())
}

// PrintWarnings shows what the frontend has found while it built: in a line each,
// or all that it says when there is no command that does.
func PrintWarnings(w io.Writer, warnings []buildkit.VertexWarning, expand string) {
	if len(warnings) == 0 {
		return
	}
	text := "1 warning found"
	if n := len(warnings); n > 1 {
		text = fmt.Sprintf("%d warnings found", n)
	}
	if expand != "" {
		text += " (use " + expand + " to expand)"
	}
	var b strings.Builder
	defer func() { io.WriteString(w, terminal.Text(b.String())) }()
	fmt.Fprintf(&b, "\n %s:\n", text)
	for _, warn := range warnings {
		fmt.Fprintf(&b, " - %s\n", warn.Short)
		if expand != "" {
			continue
		}
		for _, d := range warn.Detail {
			fmt.Fprintf(&b, "%s\n", d)
		}
		if warn.URL != "" {
			fmt.Fprintf(&b, "More info: %s\n", warn.URL)
		}
		if warn.SourceInfo != nil && warn.Range != nil {
			src := solverrors.Source{Info: warn.SourceInfo, Ranges: warn.Range}
			src.Print(&b)
		}
		fmt.Fprintln(&b)
	}
}
