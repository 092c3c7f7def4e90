package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"gantry/network/nft"

	"golang.org/x/sys/unix"
)

// Instance is the tag by which the daemon's names on the host are known.
func (d *Daemon) Instance() string {
	sum := sha256.Sum256([]byte(d.Data() + "\x00" + d.Run()))
	return hex.EncodeToString(sum[:3])
}

func (d *Daemon) snapshots() []string {
	found, _ := filepath.Glob(filepath.Join(d.Data(), "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*"))
	return found
}

// Leaks lists everything on the host that belongs to a container, network or
// project of the daemon: nothing, once all is down.
func (d *Daemon) Leaks() []string {
	var out []string
	add := func(kind string, items ...string) {
		for _, i := range items {
			out = append(out, kind+" "+i)
		}
	}
	list := func(dir string) (names []string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
	add("netns", list(filepath.Join(d.Run(), "netns"))...)
	tag := d.Instance()
	for _, l := range strings.Split(command("ip", "-o", "link"), "\n") {
		if f := strings.Fields(l); len(f) > 1 && strings.Contains(f[1], tag) {
			add("link", f[1])
		}
	}
	for _, l := range strings.Split(command("nft", "list", "ruleset"), "\n") {
		if strings.Contains(l, tag) {
			add("nft", strings.TrimSpace(l))
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, l := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(l); len(f) > 4 && strings.HasPrefix(f[4], d.Dir+"/") {
			add("mount", f[4])
		}
	}
	if snaps := d.snapshots(); len(snaps) > d.snaps {
		add("snapshots", fmt.Sprintf("%d more than the images have", len(snaps)-d.snaps))
	}
	add("shim", d.shims()...)
	for _, pattern := range []string{"/sys/fs/cgroup/gantry-" + tag + "*", "/sys/fs/cgroup/*/gantry-" + tag + "*"} {
		found, _ := filepath.Glob(pattern)
		add("cgroup", found...)
	}
	for _, dir := range []string{"data/containers", "data/networks", "data/projects", "run/io", "run/exits", "run/ctd/s", "run/ctd/io.containerd.runtime.v2.task/gantry", "run/shm"} {
		for _, name := range list(filepath.Join(d.Dir, dir)) {
			if dir == "data/networks" && name == "bridge.json" {
				continue // the default network is always there
			}
			add("file", dir+"/"+name)
		}
	}
	return out
}

func command(name string, args ...string) string {
	out, _ := exec.Command(name, args...).Output()
	return string(out)
}

// processes returns the pids whose command line mentions all words.
func processes(words ...string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
next:
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		for _, w := range words {
			if !strings.Contains(string(b), w) {
				continue next
			}
		}
		var pid int
		fmt.Sscanf(p, "/proc/%d/", &pid)
		pids = append(pids, pid)
	}
	return pids
}

func (d *Daemon) shims() (out []string) {
	for _, pid := range d.Shims() {
		out = append(out, fmt.Sprint(pid))
	}
	return out
}

// Shims returns the pids of the daemon's shims.
func (d *Daemon) Shims() []int { return processes("gantry-shim", d.Run()+"/") }

// NoLeaks fails the test unless everything of the daemon's containers is gone
// from the host. What goes in the background has a moment to do so.
func (d *Daemon) NoLeaks() {
	d.T.Helper()
	Eventually(d.T, "nothing is left on the host", func() error {
		if left := d.Leaks(); len(left) > 0 {
			return fmt.Errorf("still there:\n  %s", strings.Join(left, "\n  "))
		}
		return nil
	})
}

// Reboot makes the host look as after a power cut: daemon, shims and
// containers killed, what they had in /run, links and rules gone.
func (d *Daemon) Reboot() {
	d.T.Helper()
	d.Kill9()
	d.wipe()
	if err := os.RemoveAll(d.Run()); err != nil {
		d.T.Fatal(err)
	}
}

// wipe kills the daemon's shims and containers and takes mounts, links, rules
// and cgroups of its away, by their tag.
func (d *Daemon) wipe() {
	for _, pid := range d.containerPids() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for _, pid := range d.Shims() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	for range 3 { // mounts lie over each other
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		lines := strings.Split(string(mounts), "\n")
		for i := len(lines) - 1; i >= 0; i-- {
			if f := strings.Fields(lines[i]); len(f) > 4 && strings.HasPrefix(f[4], d.Dir+"/") {
				unix.Unmount(f[4], unix.MNT_DETACH)
			}
		}
	}
	tag := d.Instance()
	for _, l := range strings.Split(command("ip", "-o", "link"), "\n") {
		if f := strings.Fields(l); len(f) > 1 && strings.Contains(f[1], tag) {
			name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
			command("ip", "link", "del", name)
		}
	}
	if err := nft.New(tag).Remove(); err != nil {
		d.T.Errorf("remove the packet filter's rules: %v", err)
	}
	Eventually(d.T, "the killed containers' cgroups can be removed", func() error {
		var err error
		for _, pattern := range []string{"/sys/fs/cgroup/gantry-" + tag + "*", "/sys/fs/cgroup/*/gantry-" + tag + "*"} {
			parents, _ := filepath.Glob(pattern)
			for _, p := range parents {
				entries, _ := os.ReadDir(p)
				for _, e := range entries {
					if e.IsDir() {
						err = errors.Join(err, os.Remove(filepath.Join(p, e.Name())))
					}
				}
				err = errors.Join(err, os.Remove(p))
			}
		}
		return err
	})
}

// containerPids finds the containers' processes by their cgroups.
func (d *Daemon) containerPids() (pids []int) {
	for _, pattern := range []string{"/sys/fs/cgroup/gantry-*/*/cgroup.procs", "/sys/fs/cgroup/pids/gantry-*/*/cgroup.procs"} {
		files, _ := filepath.Glob(strings.Replace(pattern, "gantry-*", "gantry-"+d.Instance(), 1))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			for _, l := range strings.Fields(string(b)) {
				var pid int
				if _, err := fmt.Sscan(l, &pid); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// cleanup takes the daemon and all of it off the host, whatever the test did.
func (d *Daemon) cleanup() {
	d.T.Helper()
	if d.T.Failed() {
		d.T.Logf("the end of the daemon's log:\n%s", ending(d.Log()))
	}
	select {
	case <-d.ended:
	default:
		d.cmd.Process.Signal(syscall.SIGKILL)
		<-d.ended
	}
	d.wipe()
	if err := os.RemoveAll(d.Dir); err != nil {
		d.T.Errorf("clean up: %v", err)
	}
}

// ending is as much of a log as leaves what the test itself said to be found.
func ending(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	lines = lines[max(0, len(lines)-60):]
	for i, l := range lines {
		lines[i] = l[:min(len(l), 400)]
	}
	return strings.Join(lines, "\n")
}
