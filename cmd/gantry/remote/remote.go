// Package remote brings compose files from git repositories and registries. It
// keeps copies below the user's cache, by commit and digest, for what containers
// mount from beside them:
//
//	<cache>/<commit or digest>/<name>/compose.yaml
package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config/types"
)

// Fetcher implements project.Fetcher.
type Fetcher struct {
	Cache       string // a directory, made when it is needed
	Credentials func(ctx context.Context, registry string) (types.AuthConfig, error)
	// Insecure registries are reached without TLS. Those on loopback always are.
	Insecure []string

	mu    sync.Mutex
	known map[string]string
}

// Accept tells whether a name is one of a repository or of an artifact in a
// registry.
func (f *Fetcher) Accept(ref string) bool {
	return strings.HasPrefix(ref, scheme) || isGit(ref)
}

// Fetch brings what ref names, unless its commit or digest is in the cache
// already, and returns the path of the compose file in it.
func (f *Fetcher) Fetch(ctx context.Context, ref string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if file, ok := f.known[ref]; ok {
		return file, nil
	}
	if f.Cache == "" {
		return "", fmt.Errorf("compose file %q: there is no directory for a copy: set HOME or XDG_CACHE_HOME: %w", ref, errdefs.ErrFailedPrecondition)
	}
	fetch := f.repository
	if strings.HasPrefix(ref, scheme) {
		fetch = f.artifact
	}
	file, err := fetch(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("compose file %q: %w", ref, err)
	}
	if f.known == nil {
		f.known = map[string]string{}
	}
	f.known[ref] = file
	return file, nil
}

// keep returns the directory of that identity and name; fill makes its content
// when it is not there. It is whole or not there.
func (f *Fetcher) keep(identity, name string, fill func(dir string) error) (string, error) {
	dir := filepath.Join(f.Cache, identity)
	whole := filepath.Join(dir, name)
	if _, err := os.Stat(whole); !errors.Is(err, fs.ErrNotExist) {
		return whole, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	part, err := os.MkdirTemp(dir, ".part-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(part)
	if err := fill(part); err != nil {
		return "", err
	}
	if err := os.Rename(part, whole); err != nil && !isThere(whole) { // another one was faster
		return "", err
	}
	return whole, nil
}

func isThere(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// find returns the compose file at a path within dir, which may be that of a
// directory. A link that leads out of dir is refused.
func find(dir, path string) (string, error) {
	if !filepath.IsLocal(filepath.Join(".", path)) {
		return "", fmt.Errorf("%q leads out of it: %w", path, errdefs.ErrInvalidArgument)
	}
	at := filepath.Join(dir, path)
	if st, err := os.Stat(at); err != nil {
		return "", fmt.Errorf("it has no %q: %w", path, errdefs.ErrNotFound)
	} else if st.IsDir() {
		i := slices.IndexFunc(cli.DefaultFileNames, func(name string) bool { return isThere(filepath.Join(at, name)) })
		if i < 0 {
			return "", fmt.Errorf("it has none of %s in %q: %w", strings.Join(cli.DefaultFileNames, ", "), filepath.Join("/", path), errdefs.ErrNotFound)
		}
		at = filepath.Join(at, cli.DefaultFileNames[i])
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return "", err
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(real, root+string(filepath.Separator)) {
		return "", fmt.Errorf("%q is a link that leads out of it: %w", path, errdefs.ErrInvalidArgument)
	}
	return at, nil
}
