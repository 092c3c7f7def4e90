package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"gantry/tests/harness"
)

// parallel is how many runc work at a time.
const parallel = 4

// floor runs the same containers with nothing but runc: the runtime
// specification that Gantry made, over the same image, in a network namespace
// that exists already.
//
//	<daemon>/floor/
//	  hosts, hostname, resolv.conf
//	  state/             runc's
//	  <i>/config.json    the bundle; rootfs, upper and work belong to the overlay
type floor struct {
	t      *tb
	dir    string
	lower  string // the image's directory
	spec   specs.Spec
	netns  string // a name for ip netns
	cgroup string // parent of the containers'
	made   int    // how many bundles there are
}

// newFloor takes the specification from a container of Gantry's.
func newFloor(t *tb, d *harness.Daemon) *floor {
	t.step("making bundles for bare runc")
	f := &floor{t: t, dir: filepath.Join(d.Dir, "floor"), netns: "gantry-bench-" + d.Instance(), cgroup: "gantry-" + d.Instance() + "-floor"}
	t.Cleanup(f.close)
	project := sleepers(d, "template", 1)
	d.Must(project, "up", "-d")
	f.check(os.MkdirAll(f.dir, 0o755))
	f.check(f.learn(filepath.Join(d.Run(), "ctd/io.containerd.runtime.v2.task/gantry")))
	d.Must(project, "down", "-t", "0")
	d.NoLeaks()
	f.command("ip", "netns", "add", f.netns)
	return f
}

// learn reads the only bundle in a directory.
func (f *floor) learn(bundles string) error {
	found, err := filepath.Glob(filepath.Join(bundles, "*", "config.json"))
	if err != nil || len(found) != 1 {
		return errors.Join(err, fmt.Errorf("%d bundles in %q, want one", len(found), bundles))
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &f.spec); err != nil {
		return err
	}
	for i, m := range f.spec.Mounts {
		if m.Type != "bind" {
			continue
		}
		b, err := os.ReadFile(m.Source)
		if err != nil {
			return err
		}
		own := filepath.Join(f.dir, filepath.Base(m.Source))
		if err := os.WriteFile(own, b, 0o644); err != nil {
			return err
		}
		f.spec.Mounts[i].Source = own
	}
	joined := false
	for i, n := range f.spec.Linux.Namespaces {
		if n.Type == specs.NetworkNamespace {
			f.spec.Linux.Namespaces[i].Path, joined = "/run/netns/"+f.netns, true
		}
	}
	if !joined {
		return fmt.Errorf("%q joins no network namespace", found[0])
	}
	f.lower, err = lowerDir(filepath.Join(filepath.Dir(found[0]), "rootfs"))
	return err
}

// lowerDir is the lower directory of the overlay at a mount point.
func lowerDir(mountPoint string) (string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	for _, l := range strings.Split(string(b), "\n") {
		if f := strings.Fields(l); len(f) < 5 || f[4] != mountPoint {
			continue
		}
		for _, o := range strings.Split(l[strings.LastIndex(l, " ")+1:], ",") {
			if dir, ok := strings.CutPrefix(o, "lowerdir="); ok {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("no overlay is mounted at %q", mountPoint)
}

// bundle makes the i-th bundle and mounts its overlay.
func (f *floor) bundle(i int, args []string) error {
	dir := f.path(i)
	for _, sub := range []string{"rootfs", "upper", "work"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	spec, process, linux := f.spec, *f.spec.Process, *f.spec.Linux
	spec.Process, spec.Linux = &process, &linux
	process.Args = args
	linux.CgroupsPath = "/" + f.cgroup + "/" + f.id(i)
	b, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o644); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,index=off", f.lower, dir, dir)
	return unix.Mount("overlay", filepath.Join(dir, "rootfs"), "overlay", 0, options)
}

func (f *floor) path(i int) string { return filepath.Join(f.dir, fmt.Sprint(i)) }
func (f *floor) id(i int) string   { return fmt.Sprintf("floor-%d", i) }

func (f *floor) runc(args ...string) *exec.Cmd {
	return exec.Command("runc", append([]string{"--root", filepath.Join(f.dir, "state")}, args...)...)
}

// sleepers returns how long runc takes to start n containers. They are gone
// when it returns.
func (f *floor) sleepers(n int) time.Duration {
	f.prepare(n, []string{"sleep", "100000"})
	defer f.remove()
	began := time.Now()
	f.check(f.each(func(i int) error { return run(f.runc("run", "-d", "--bundle", f.path(i), f.id(i))) }))
	return time.Since(began)
}

// once returns how long runc takes to run a container to its end.
func (f *floor) once(args ...string) time.Duration {
	f.prepare(1, args)
	defer f.remove()
	began := time.Now()
	f.check(run(f.runc("run", "--bundle", f.path(0), f.id(0))))
	return time.Since(began)
}

// all returns how long runc takes to run as many containers as a storm to
// their end, four at a time.
func (f *floor) all(args ...string) time.Duration {
	f.prepare(stormSize, args)
	defer f.remove()
	began := time.Now()
	f.check(f.each(func(i int) error { return run(f.runc("run", "--bundle", f.path(i), f.id(i))) }))
	return time.Since(began)
}

func (f *floor) prepare(n int, args []string) {
	for i := range n {
		f.made = i + 1
		f.check(f.bundle(i, args))
	}
}

// each calls do for every bundle, four at a time.
func (f *floor) each(do func(i int) error) error {
	var wg sync.WaitGroup
	next, errs := make(chan int), make([]error, f.made)
	for range parallel {
		wg.Go(func() {
			for i := range next {
				errs[i] = do(i)
			}
		})
	}
	for i := range f.made {
		next <- i
	}
	close(next)
	wg.Wait()
	return errors.Join(errs...)
}

// remove takes all containers and bundles away.
func (f *floor) remove() {
	err := f.each(func(i int) error {
		if _, err := os.Stat(filepath.Join(f.dir, "state", f.id(i))); err == nil {
			if err := run(f.runc("delete", "-f", f.id(i))); err != nil {
				return err
			}
		}
		if err := unix.Unmount(filepath.Join(f.path(i), "rootfs"), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return err
		}
		return os.RemoveAll(f.path(i))
	})
	f.made = 0
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		parents, _ := filepath.Glob(pattern + f.cgroup)
		for _, p := range parents {
			err = errors.Join(err, os.Remove(p))
		}
	}
	if err != nil {
		f.t.Errorf("remove the containers of bare runc: %v", err)
	}
}

func (f *floor) close() {
	f.remove()
	if _, err := os.Stat("/run/netns/" + f.netns); err == nil {
		f.command("ip", "netns", "del", f.netns)
	}
}

func (f *floor) command(name string, args ...string) {
	f.check(run(exec.Command(name, args...)))
}

func (f *floor) check(err error) {
	if err != nil {
		f.t.Fatalf("bare runc: %v", err)
	}
}

// run adds what a failing command said. Its output goes to a file: a detached
// container keeps it open, and nobody waits for that.
func run(cmd *exec.Cmd) error {
	out, err := os.CreateTemp("", "bench-")
	if err != nil {
		return err
	}
	defer out.Close()
	if err := os.Remove(out.Name()); err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said := make([]byte, 1000)
		n, _ := out.ReadAt(said, 0)
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, said[:n])
	}
	return nil
}
