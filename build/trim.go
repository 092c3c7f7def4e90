package build

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// optTrim is the frontend's option that has a remote context trimmed.
const optTrim = "gantry:trim"

// ignoreFile is the file in a context that names what is no part of it.
const ignoreFile = ".dockerignore"

// trim takes out of a context that is remote what the classic builder took
// out of it: the Dockerfile and .dockerignore, if the latter names them. Its
// clients keep the rest of what it names to themselves, but must send those. The
// answer is the frontend's options and inputs, nil for those of c.
func trim(ctx context.Context, c client.Client) (map[string]string, map[string]llb.State, error) {
	ui, err := dockerui.NewClient(c)
	if err != nil {
		return nil, nil, err
	}
	opts := c.BuildOpts().Opts
	if opts["context"] == "" {
		return nil, nil, nil
	}
	all, err := ui.MainContext(ctx)
	if err != nil {
		return nil, nil, err
	}
	ref, err := solved(ctx, c, all)
	if err != nil {
		return nil, nil, err
	}
	text, err := dockerui.ReadFile(ctx, ref, ignoreFile)
	if err != nil { // there is none
		return nil, nil, nil
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(text))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", ignoreFile, err)
	}
	left := *all
	for _, name := range []string{ignoreFile, dockerfileIn(ctx, ref, opts["filename"])} {
		ignored, err := patternmatcher.MatchesOrParentMatches(name, patterns)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", ignoreFile, err)
		}
		if ignored {
			left = left.File(llb.Rm(name, llb.WithAllowNotFound(true)), dockerui.WithInternalName("leave out "+name))
		}
	}
	if left.Output() == all.Output() {
		return nil, nil, nil
	}
	opts = maps.Clone(opts)
	delete(opts, "context")
	return opts, map[string]llb.State{"context": left, "dockerfile": *all}, nil
}

func solved(ctx context.Context, c client.Client, st *llb.State) (client.Reference, error) {
	def, err := st.Marshal(ctx, llb.WithCaps(c.BuildOpts().Caps))
	if err != nil {
		return nil, err
	}
	res, err := c.Solve(ctx, client.SolveRequest{Definition: def.ToPB()})
	if err != nil {
		return nil, err
	}
	return res.SingleRef()
}

// dockerfileIn is the Dockerfile's name: the usual one may be in lower case.
func dockerfileIn(ctx context.Context, ref client.Reference, name string) string {
	if name != "" && name != dockerui.DefaultDockerfileName {
		return name
	}
	if _, err := ref.StatFile(ctx, client.StatRequest{Path: dockerui.DefaultDockerfileName}); err != nil {
		return strings.ToLower(dockerui.DefaultDockerfileName)
	}
	return dockerui.DefaultDockerfileName
}
