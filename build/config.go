// Package build embeds BuildKit: its solver and Dockerfile frontend build
// images on the containerd that Gantry runs, in the same image store, and its
// own gRPC services answer clients such as buildx.
package build

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// Config says where a builder lives and what it works with.
//
//	Root/   cache.db metadata.db history.db   what is cached (survives a reboot)
//	State/  bundles of the steps that run (a reboot may wipe it)
type Config struct {
	Root, State  string // absolute
	Namespace    string // containerd's
	Snapshotter  string
	RuncPath     string
	CgroupParent string // of the steps' cgroups
	// Images names what is built, and has the images that builds begin with.
	Images images.Store
	// Dangling with @ and a digest is the name there of an image without one.
	Dangling string
	// Unpack makes the file system of an image that was built, by its digest. built
	// are snapshots of what steps have left, by the chain ID of the layers that
	// were made of them.
	Unpack func(ctx context.Context, digest string, built map[string]string) error
	// Made is called with each image that a build has put there: its digest and
	// its complete names. It returns the image's ID there, or "" for one that
	// was not kept.
	Made func(digest string, names []string) (id string)
	// Hosts says how a registry is reached.
	Hosts func(domain string) ([]docker.RegistryHost, error)
	// Collect says what of the cache goes by itself: nothing when it is empty;
	// when it is nil, as much as keeps a fifth of the disk free.
	Collect []CacheRules
	// HostGateway are this host's addresses as steps see it.
	HostGateway []netip.Addr
	Version     string
	// Compress makes layers; nil leaves it to BuildKit.
	Compress Compressor
	// Garbage removes what nothing refers to any more, and returns when it is gone
	// from the disk.
	Garbage func(ctx context.Context) error
	// Room makes some on a full disk until done is called: to remove something
	// takes notes. It may be nil.
	Room func() (done func())
	// Step is called before a step's cgroup is made, and end when that is gone. It
	// may be nil.
	Step   func() (end func())
	Limits Limits // of each step
}

// Network gives steps that RUN a network of their own.
type Network interface {
	// Attach makes a namespace with addresses and names, and returns its path.
	Attach(ctx context.Context, id string) (path string, err error)
	// Detach removes it. It is no error when it is gone.
	Detach(ctx context.Context, id string) error
}

func (c *Config) check(client *ctd.Client) error {
	if client == nil {
		return fmt.Errorf("build: no containerd: %w", errdefs.ErrInvalidArgument)
	}
	for _, dir := range []string{c.Root, c.State} {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("build: directory %q is not absolute: %w", dir, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}
