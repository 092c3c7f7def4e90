package project

import (
	"context"
	"path/filepath"

	"github.com/containerd/errdefs"
)

// Fetcher brings files that do not lie on this host.
type Fetcher interface {
	// Accept tells whether a name is a reference of something remote.
	Accept(ref string) bool
	// Fetch returns the path of a copy, with what belongs to it beside it.
	Fetch(ctx context.Context, ref string) (path string, err error)
}

// remotes remembers what was fetched, and is compose-go's loader of it.
type remotes struct {
	Fetcher
	files map[string]string // references and what they were fetched to
}

// fetch returns a file's name, or the path of its copy when it is remote.
func (r *remotes) fetch(ctx context.Context, ref string) (string, error) {
	if r.Fetcher == nil || !r.Fetcher.Accept(ref) {
		return ref, nil
	}
	if path, ok := r.files[ref]; ok {
		return path, nil
	}
	path, err := r.Fetcher.Fetch(ctx, ref)
	if err == nil {
		r.files[ref] = path
	}
	return path, err
}

func (r *remotes) all(ctx context.Context, refs []string) ([]string, error) {
	var out []string
	for _, ref := range refs {
		path, err := r.fetch(ctx, ref)
		if err != nil {
			return nil, unfetched(Position{}, err)
		}
		out = append(out, path)
	}
	return out, nil
}

// fetched is fetch of what was fetched before, if it was.
func (r *remotes) fetched(ref string) string {
	if path, ok := r.files[ref]; ok {
		return path
	}
	return ref
}

// bases fetches what the services of a document extend from elsewhere.
func (r *remotes) bases(ctx context.Context, l *layer) error {
	for _, service := range entries(child(l.root, "services")) {
		file := child(child(service.value, "extends"), "file")
		if _, err := r.fetch(ctx, l.expand(file)); err != nil {
			return unfetched(l.position(file), err)
		}
	}
	return nil
}

func unfetched(at Position, err error) error {
	return newError(errdefs.ErrUnavailable, "", []Problem{{Position: at, Text: err.Error()}})
}

// Load implements loader.ResourceLoader.
func (r *remotes) Load(ctx context.Context, ref string) (string, error) { return r.fetch(ctx, ref) }

// Dir implements loader.ResourceLoader. It is asked for references and for
// copies.
func (r *remotes) Dir(ref string) string { return filepath.Dir(r.fetched(ref)) }
