package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"gantry/containerd/spec"

	"github.com/google/uuid"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/sys/atomicwriter"
)

// Component is a program that the daemon consists of or works with.
type Component struct {
	Name, Version string
	Commit        string // or the version where the commit is not known
}

// findComponents asks the programs and the binary for their versions.
func findComponents() []Component {
	out := []Component{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/containerd/containerd/v2" {
				out = append(out, Component{Name: "containerd", Version: m.Version, Commit: m.Version})
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := exec.CommandContext(ctx, "runc", "--version").Output()
	if err == nil {
		out = append(out, runcComponent(string(b)))
	}
	return out
}

// runcComponent reads what runc --version prints.
func runcComponent(text string) Component {
	c := Component{Name: "runc"}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if v, ok := strings.CutPrefix(line, "runc version "); ok {
			c.Version = v
		} else if v, ok := strings.CutPrefix(line, "commit: "); ok {
			c.Commit = v
		}
	}
	if c.Commit == "" {
		c.Commit = c.Version
	}
	return c
}

// Components are the programs behind the daemon, besides itself.
func (e *Engine) Components() []Component { return slices.Clone(e.components()) }

func (e *Engine) commitOf(name string) system.Commit {
	for _, c := range e.components() {
		if c.Name == name {
			return system.Commit{ID: c.Commit}
		}
	}
	return system.Commit{ID: "N/A"}
}

// identity is the daemon's ID: made once for a data root, and kept there.
func identity(dataRoot string) (string, error) {
	path := filepath.Join(dataRoot, "engine-id")
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("engine: %w", err)
	}
	id := uuid.NewString()
	if err := atomicwriter.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("engine: %w", err)
	}
	return id, nil
}

// registryConfig tells how registries are spoken to, in Docker's shape.
func registryConfig(insecure, mirrors []string) *registry.ServiceConfig {
	if mirrors == nil {
		mirrors = []string{}
	}
	c := &registry.ServiceConfig{
		InsecureRegistryCIDRs: []netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("127.0.0.0/8")},
		IndexConfigs:          map[string]*registry.IndexInfo{"docker.io": {Name: "docker.io", Mirrors: mirrors, Secure: true, Official: true}},
		Mirrors:               mirrors,
	}
	for _, r := range insecure {
		if p, err := netip.ParsePrefix(r); err == nil {
			c.InsecureRegistryCIDRs = append(c.InsecureRegistryCIDRs, p)
			continue
		}
		c.IndexConfigs[r] = &registry.IndexInfo{Name: r, Mirrors: []string{}}
	}
	return c
}

// warnings are what people should know of a host, in Docker's words.
func warnings(f spec.Facts, forwarding bool) []string {
	out := []string{}
	for _, w := range []struct {
		fine bool
		text string
	}{
		{f.Memory, "No memory limit support"},
		{f.Swap || !f.Memory, "No swap limit support"},
		{f.OOMKillDisable || f.CgroupV2, "No oom kill disable support"},
		{f.CPU, "No cpu cfs quota support"},
		{f.CPU, "No cpu cfs period support"},
		{f.CPU, "No cpu shares support"},
		{f.Cpuset, "No cpuset support"},
		{f.Pids, "No pids limit support"},
		{forwarding, "IPv4 forwarding is disabled"},
	} {
		if !w.fine {
			out = append(out, "WARNING: "+w.text)
		}
	}
	return out
}

// osRelease is what the host calls itself. Source: os-release(5).
func osRelease() (name, version string) {
	name = "Linux"
	for _, path := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			key, value, _ := strings.Cut(s.Text(), "=")
			switch value = strings.Trim(value, `"'`); key {
			case "PRETTY_NAME":
				name = value
			case "VERSION_ID":
				version = value
			}
		}
		return name, version
	}
	return name, version
}

// proxy is a proxy of the daemon's environment, without its password.
func proxy(name string) string {
	v := os.Getenv(name)
	if v == "" {
		v = os.Getenv(strings.ToLower(name))
	}
	if u, err := url.Parse(v); err == nil && u.User != nil {
		return u.Redacted()
	}
	return v
}

// fileHolds tells whether a file of the kernel's says just that.
func fileHolds(path, want string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.TrimSpace(string(b)) == want
}

// openFiles counts this process's open files.
func openFiles() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
