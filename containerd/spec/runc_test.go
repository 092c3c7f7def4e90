package spec

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
)

const busybox = "/bin/busybox"

// rootfs makes a root of a static busybox with all its applets and two users.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "rootfs")
	for _, d := range []string{"bin", "etc", "tmp", "proc", "sys", "dev", "home/app"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	bin, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, busybox), bin, 0o755))
	applets, err := exec.Command(busybox, "--list").Output()
	must(t, err)
	for _, a := range strings.Fields(string(applets)) {
		if a != "busybox" {
			must(t, os.Symlink("busybox", filepath.Join(dir, "bin", a)))
		}
	}
	must(t, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "etc/group"), []byte("root:x:0:\napp:x:1000:\nwheel:x:10:app\naudio:x:29:\n"), 0o644))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sandbox is a place to run containers in, gone with the test.
type sandbox struct {
	t     *testing.T
	state string
	group string
	facts Facts
}

func newSandbox(t *testing.T) *sandbox {
	t.Helper()
	f, err := Detect()
	must(t, err)
	b := make([]byte, 6)
	rand.Read(b)
	s := &sandbox{t: t, state: t.TempDir(), group: "/gantry-spec-" + hex.EncodeToString(b), facts: f}
	t.Cleanup(func() {
		for _, pattern := range []string{"/sys/fs/cgroup/*" + s.group, "/sys/fs/cgroup" + s.group} {
			found, _ := filepath.Glob(pattern)
			for _, dir := range found {
				if err := os.Remove(dir); err != nil {
					t.Errorf("cgroup left behind: %v", err)
				}
			}
		}
	})
	return s
}

// input is a container in the sandbox that runs a shell command.
func (s *sandbox) input(id, rootfs string, command ...string) Input {
	return Input{
		ID:          id,
		Config:      container.Config{Cmd: command},
		Host:        container.HostConfig{NetworkMode: "none"},
		Rootfs:      rootfs,
		Hostname:    id,
		CgroupsPath: s.group + "/" + id,
		Facts:       s.facts,
	}
}

func (s *sandbox) runc(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "runc", append([]string{"--root", s.state}, args...)...)
	// runc copies both streams by themselves: together they come in any order.
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("runc %s: %w: %s", args[0], err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

// bundle writes the specification beside the root.
func (s *sandbox) bundle(in Input) string {
	s.t.Helper()
	spec, err := Build(in)
	must(s.t, err)
	b, err := json.Marshal(spec)
	must(s.t, err)
	dir := filepath.Dir(in.Rootfs)
	must(s.t, os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600))
	return dir
}

// run runs in to its end and returns what it prints.
func (s *sandbox) run(in Input) string {
	s.t.Helper()
	dir := s.bundle(in)
	s.t.Cleanup(func() { s.runc("delete", "--force", in.ID) })
	out, err := s.runc("run", "--bundle", dir, in.ID)
	if err != nil {
		s.t.Fatalf("runc run: %v\n%s", err, out)
	}
	return out
}

// start runs in, which does not end by itself, in the background.
func (s *sandbox) start(in Input) *specs.Spec {
	s.t.Helper()
	dir := s.bundle(in)
	s.t.Cleanup(func() { s.runc("delete", "--force", in.ID) })
	// The container must not hold our pipes: detached, it keeps what it inherits.
	cmd := exec.Command("runc", "--root", s.state, "run", "--detach", "--bundle", dir, in.ID)
	log, err := os.Create(filepath.Join(s.t.TempDir(), "log"))
	must(s.t, err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(log.Name())
		s.t.Fatalf("runc run --detach: %v\n%s", err, b)
	}
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	must(s.t, err)
	spec := new(specs.Spec)
	must(s.t, json.Unmarshal(b, spec))
	return spec
}

// exec runs p in a started container.
func (s *sandbox) exec(id string, p *specs.Process) (string, error) {
	s.t.Helper()
	b, err := json.Marshal(p)
	must(s.t, err)
	file := filepath.Join(s.t.TempDir(), "process.json")
	must(s.t, os.WriteFile(file, b, 0o600))
	return s.runc("exec", "--process", file, id)
}
