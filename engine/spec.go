package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gantry/containerd/spec"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// specInput is all that a container's runtime spec is made of, save its root.
func (e *Engine) specInput(c *ctr, rec *record, netns string) (spec.Input, error) {
	h := &rec.HostConfig
	in := spec.Input{
		ID: rec.ID, Config: rec.Config, Host: *h, Netns: netns, Hostname: rec.Config.Hostname, Domainname: rec.Config.Domainname,
		CgroupsPath: "/" + e.cgroupParent() + "/" + rec.ID, InitPath: e.cfg.InitPath, CDIDirs: e.cfg.CDIDirs, Facts: e.facts,
		Mounts: append(specMounts(rec, e.files(c, rec)), givenMounts(c.dir, rec)...),
	}
	if h.IpcMode.IsShareable() {
		in.Shm = e.shmPath(rec.ID)
	}
	// Where another container's namespaces are is known when this one starts:
	// see joinNamespaces.
	if h.PidMode.IsContainer() {
		in.PidNS = laterNamespace
	}
	if h.IpcMode.IsContainer() {
		in.IpcNS, in.Shm = laterNamespace, e.shmPath(h.IpcMode.Container())
	}
	return in, nil
}

const laterNamespace = "/proc/self/ns/later"

// joinNamespaces puts the namespaces of the containers that this one joins
// into its runtime spec. They must run.
func (e *Engine) joinNamespaces(ctx context.Context, rec *record) error {
	h := &rec.HostConfig
	paths := map[specs.LinuxNamespaceType]string{}
	for _, j := range []struct {
		kind  specs.LinuxNamespaceType
		file  string
		owner string
	}{
		{specs.NetworkNamespace, "", h.NetworkMode.ConnectedContainer()},
		{specs.PIDNamespace, "pid", h.PidMode.Container()},
		{specs.IPCNamespace, "ipc", h.IpcMode.Container()},
	} {
		if j.owner == "" {
			continue
		}
		owner, err := e.find(j.owner)
		if err != nil {
			return fmt.Errorf("join the %s namespace: %w", j.kind, err)
		}
		r, err := owner.current()
		if err != nil {
			return fmt.Errorf("join the %s namespace: %w", j.kind, err)
		}
		if j.file != "" { // a network namespace has a name of its own, which stays
			paths[j.kind] = fmt.Sprintf("/proc/%d/ns/%s", r.pid, j.file)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	s, err := e.rt.Spec(ctx, rec.ID)
	if err != nil {
		return err
	}
	for i := range s.Linux.Namespaces {
		if p, ok := paths[s.Linux.Namespaces[i].Type]; ok {
			s.Linux.Namespaces[i].Path = p
		}
	}
	return e.rt.UpdateSpec(ctx, rec.ID, s)
}

// process is the process of a container's runtime spec, from which those of
// its execs are derived.
func (e *Engine) process(ctx context.Context, c *ctr) (*specs.Spec, error) {
	c.mu.Lock()
	p := c.process
	c.mu.Unlock()
	if p == nil {
		s, err := e.rt.Spec(ctx, c.id)
		if err != nil {
			return nil, err
		}
		if s.Process == nil {
			return nil, fmt.Errorf("container %q has no process in its runtime spec: %w", c.name(), errdefs.ErrDataLoss)
		}
		p = s.Process
		c.mu.Lock()
		c.process = p
		c.mu.Unlock()
	}
	return &specs.Spec{Process: p}, nil
}

// files are the files that a container gets from its daemon, by target.
func (e *Engine) files(c *ctr, rec *record) map[string]string {
	dir := c.dir
	if owner := rec.HostConfig.NetworkMode.ConnectedContainer(); owner != "" {
		dir = filepath.Join(filepath.Dir(c.dir), owner) // who shares a network shares its names
	}
	out := map[string]string{"/etc/hosts": filepath.Join(dir, "hosts"), "/etc/resolv.conf": filepath.Join(dir, "resolv.conf")}
	out["/etc/hostname"] = filepath.Join(dir, "hostname")
	return out
}

// maxOwnFile bounds what is read of a file that a container may write, in bytes.
const maxOwnFile = 1 << 20

// readOwnFile reads a file that is mounted into a container, whose processes may
// have made of it what they like. ErrResourceExhausted when it is too large.
func readOwnFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxOwnFile+1))
	if err == nil && len(b) > maxOwnFile {
		return nil, fmt.Errorf("%q has more than %d bytes: %w", path, maxOwnFile, errdefs.ErrResourceExhausted)
	}
	return b, err
}

// writeInPlace changes a file that may be mounted into a container: it stays
// the same file.
func writeInPlace(path string, b []byte) error {
	old, err := readOwnFile(path)
	if err == nil && string(old) == string(b) {
		return nil
	}
	return os.WriteFile(path, b, 0o644)
}

// hashID makes an ID of 64 hexadecimal digits of words.
func hashID(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return hex.EncodeToString(sum[:])
}
