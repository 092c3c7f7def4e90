package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
)

var commitPattern = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// isGit takes what BuildKit takes for a git context, save what might be a
// path: URL.git#ref:path and git@host:path.
func isGit(ref string) bool {
	parsed, ok, err := dfgitutil.ParseGitRef(ref)
	return ok && err == nil && !parsed.IndistinguishableFromLocal
}

// repository brings a repository at a commit, without its history.
func (f *Fetcher) repository(ctx context.Context, ref string) (string, error) {
	r, _, err := dfgitutil.ParseGitRef(ref)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	commit := r.Ref
	if !commitPattern.MatchString(commit) {
		if commit, err = resolve(ctx, r.Remote, commit); err != nil {
			return "", err
		}
	}
	dir, err := f.keep(commit, strings.TrimSuffix(r.ShortName, ".git"), func(dir string) error {
		for _, args := range [][]string{
			{"init", "--quiet", "--template="},
			{"fetch", "--quiet", "--depth=1", "--", r.Remote, commit},
			{"checkout", "--quiet", "--detach", "FETCH_HEAD"},
		} {
			if _, err := git(ctx, dir, args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return find(dir, r.SubDir)
}

// resolve asks a repository which commit a branch or tag is, or HEAD.
func resolve(ctx context.Context, remote, name string) (string, error) {
	if name == "" {
		name = "HEAD"
	}
	out, err := git(ctx, "", "ls-remote", "--", remote, name, name+"^{}")
	if err != nil {
		return "", err
	}
	commits := map[string]string{} // git also tells of names that end alike
	for line := range strings.Lines(string(out)) {
		if commit, full, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && commitPattern.MatchString(commit) {
			commits[full] = commit
		}
	}
	for _, full := range []string{name, "refs/tags/" + name + "^{}", "refs/tags/" + name, "refs/heads/" + name} {
		if commit, ok := commits[full]; ok {
			return commit, nil
		}
	}
	return "", fmt.Errorf("repository %q has no %q: %w", remote, name, errdefs.ErrNotFound)
}

// git runs git, which asks nobody for a password and runs none of the hooks and
// helpers that a repository might name.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.hooksPath=/dev/null"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_PROTOCOL_FROM_USER=0", "GIT_LFS_SKIP_SMUDGE=1")
	if os.Getenv("GIT_SSH_COMMAND") == "" {
		cmd.Env = append(cmd.Env, "GIT_SSH_COMMAND=ssh -o BatchMode=yes")
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("git is not installed: %w", errdefs.ErrFailedPrecondition)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, fmt.Errorf("git %s: %s: %w", args[0], strings.TrimSpace(said.String()), errdefs.ErrUnavailable)
}
