package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"gantry/cmd/gantry/docker"
	"gantry/project"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client/ociindex"
	"github.com/moby/buildkit/session"
	sessioncontent "github.com/moby/buildkit/session/content"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultCacheTag is the cache of a directory that builds mean without a tag.
const defaultCacheTag = "latest"

// localCaches are the directories of this host that builds take steps' results
// from and put them into: OCI layouts, of which the daemon sees the content.
type localCaches struct {
	stores  map[string]content.Store // by the name that BuildKit asks for
	written []*writtenCache
}

// writtenCache is a layout that one build writes to.
type writtenCache struct {
	content.Store
	dir, tag string

	mu   sync.Mutex
	last digest.Digest // what was written last: that refers to all the rest
}

// open prepares the local caches and layouts of a build and completes what it says
// of them: by digest, the daemon finds a cache. One that is not there is left out, and
// said.
func (l *localCaches) open(b *project.Build, warn io.Writer) error {
	if err := l.layouts(b); err != nil {
		return err
	}
	var from []string
	for _, text := range b.CacheFrom {
		list, err := project.ReadCacheFrom(text)
		if err != nil {
			return err
		}
		for _, c := range list {
			text, err := text, error(nil)
			if c.Dir() != "" {
				text, err = l.source(c)
			}
			if err != nil {
				fmt.Fprintf(warn, "warning: cache_from %s: nothing is taken from it: %v\n", c.Dir(), err)
				continue
			}
			from = append(from, text)
		}
	}
	b.CacheFrom = from
	for _, text := range b.CacheTo {
		list, err := project.ReadCacheTo(text)
		if err != nil {
			return err
		}
		for _, c := range list {
			if c.Dir() == "" {
				continue
			}
			if err := l.target(c); err != nil {
				return fmt.Errorf("cache_to %q: %w", c.Dir(), err)
			}
		}
	}
	return nil
}

// layouts prepares the images in OCI layouts that a build begins with.
func (l *localCaches) layouts(b *project.Build) error {
	for name, from := range b.Contexts {
		layout, ok := strings.CutPrefix(from, project.LayoutPrefix)
		if !ok {
			continue
		}
		dir, tag, sum, err := docker.FindLayout(layout)
		if err != nil {
			return fmt.Errorf("additional_contexts: %s: %w", name, err)
		}
		id := project.LocalName(dir, "")
		if err := l.add("oci:"+id, dir, nil); err != nil { // Source: buildkit, client
			return err
		}
		b.Contexts[name] = project.LayoutPrefix + id + ":" + tag + "@" + sum
	}
	return nil
}

func (l *localCaches) source(c project.Cache) (string, error) {
	dir := c.Dir()
	if _, err := os.Stat(dir); err != nil { // opening makes it
		return "", err
	}
	if c.Attrs["digest"] == "" {
		desc, err := ociindex.NewStoreIndex(dir).Get(tagOf(c))
		if err != nil {
			return "", err
		}
		if desc == nil {
			return "", fmt.Errorf("it has no tag %q: %w", tagOf(c), fs.ErrNotExist)
		}
		c.Attrs["digest"] = desc.Digest.String()
	}
	return c.String(), l.add("local:"+dir, dir, nil)
}

func (l *localCaches) target(c project.Cache) error {
	if err := os.MkdirAll(c.Dir(), 0o755); err != nil {
		return err
	}
	return l.add("local:"+c.Dir(), c.Dir(), &writtenCache{dir: c.Dir(), tag: tagOf(c)})
}

// add gives the daemon a store, by the name that BuildKit asks for. Source:
// buildkit, cache/remotecache/local.
func (l *localCaches) add(id, dir string, w *writtenCache) error {
	store, err := local.NewStore(dir)
	if err != nil {
		return err
	}
	if l.stores == nil {
		l.stores = map[string]content.Store{}
	}
	if w != nil {
		w.Store, store = store, w
		l.written = append(l.written, w)
	} else if l.stores[id] != nil {
		return nil
	}
	l.stores[id] = store
	return nil
}

func tagOf(c project.Cache) string {
	if t := c.Attrs["tag"]; t != "" {
		return t
	}
	return defaultCacheTag
}

// attachable gives sessions the caches; nil when there are none.
func (l *localCaches) attachable() session.Attachable {
	if len(l.stores) == 0 {
		return nil
	}
	return sessioncontent.NewAttachable(l.stores)
}

// name puts what was written into the layouts' indexes.
func (l *localCaches) name() error {
	var errs []error
	for _, w := range l.written {
		if err := w.name(); err != nil {
			errs = append(errs, fmt.Errorf("cache_to %q: %w", w.dir, err))
		}
	}
	return errors.Join(errs...)
}

// Writer notes what is written.
func (w *writtenCache) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	w.last = o.Desc.Digest
	w.mu.Unlock()
	return w.Store.Writer(ctx, opts...)
}

// name gives the cache its tag. A manifest is written after all that it refers
// to: what was written last is none when the export broke off.
func (w *writtenCache) name() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == "" {
		return nil
	}
	data, err := content.ReadBlob(context.Background(), w.Store, ocispec.Descriptor{Digest: w.last})
	if err != nil {
		return nil // not whole
	}
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(data, &m) != nil || !images.IsManifestType(m.MediaType) && !images.IsIndexType(m.MediaType) {
		return nil
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: w.last, Size: int64(len(data))}
	return ociindex.NewStoreIndex(w.dir).Put(desc, ociindex.Tag(w.tag))
}
