package containerd_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"gantry/containerd"
	"gantry/containerd/stdio"
)

// The shim's URIs reach it as they are: output is logged, and delivered to who
// attached before the start; input comes, and ends.
func TestStreams(t *testing.T) {
	h := open(t)
	h.load("busybox")
	dir := h.cfg.State + "/io"
	h.must(os.Mkdir(dir, 0o700))
	log := filepath.Join(dir, "x.log")
	uri := stdio.Config{Socket: dir + "/x.sock", LogPath: log}.URI()
	h.create("x", "p", "busybox", "sh", "-c", "while read l; do echo got $l; done; echo end >&2; exit 6")
	_, err := h.CreateTask(h.ctx, containerd.TaskOptions{ContainerID: "x", Stdin: uri, Stdout: uri, Stderr: uri})
	h.must(err)
	stream, err := stdio.Attach(h.ctx, dir+"/x.sock")
	h.must(err)
	defer stream.Close()
	h.must(h.StartTask(h.ctx, "x"))
	_, err = stream.Write([]byte("one\ntwo\n"))
	h.must(err)
	var out, errOut bytes.Buffer
	copied := make(chan error, 1)
	go func() { copied <- stream.Copy(&out, &errOut) }()
	h.until("the input to be read", func() bool {
		b, _ := os.ReadFile(log)
		return strings.Contains(string(b), "got two")
	})
	h.must(h.CloseStdin(h.ctx, "x", ""))
	if x := h.exit("x"); x.Code != 6 {
		t.Errorf("exit %+v", x)
	}
	h.must(<-copied)
	if out.String() != "got one\ngot two\n" || errOut.String() != "end\n" {
		t.Errorf("output %q and %q", out.String(), errOut.String())
	}
	b, err := os.ReadFile(log)
	h.must(err)
	if !strings.Contains(string(b), "end") {
		t.Errorf("log %s", b)
	}
	h.remove("x")
}

// An exec has a terminal of the size that it was given.
func TestExecTerminal(t *testing.T) {
	h := open(t)
	h.load("busybox")
	_, err := h.PrepareRoot(h.ctx, "x", "busybox")
	h.must(err)
	s := spec("x", "sleep", "1000")
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}})
	h.must(h.CreateContainer(h.ctx, containerd.ContainerSpec{ID: "x", Spec: s}))
	h.start("x")
	dir := h.cfg.State + "/io"
	h.must(os.Mkdir(dir, 0o700))
	uri := stdio.Config{Socket: dir + "/e.sock", Terminal: true}.URI()
	p := &specs.Process{Args: []string{"sh", "-c", "read x; stty size"}, Cwd: "/", Env: []string{"PATH=/bin"}, Terminal: true}
	h.must(h.Exec(h.ctx, containerd.ExecOptions{ContainerID: "x", ExecID: "e", Process: p, Stdin: uri, Stdout: uri}))
	stream, err := stdio.Attach(h.ctx, dir+"/e.sock")
	h.must(err)
	defer stream.Close()
	_, err = h.StartExec(h.ctx, "x", "e")
	h.must(err)
	h.must(h.Resize(h.ctx, "x", "e", 77, 33))
	_, err = stream.Write([]byte("\n"))
	h.must(err)
	var out bytes.Buffer
	h.must(stream.Copy(&out, io.Discard))
	if !strings.Contains(out.String(), "33 77") {
		t.Errorf("output %q", out.String())
	}
	h.nextExit(func(x containerd.Exit) bool { return x.ExecID == "e" }, "exec to end")
	_, _, err = h.DeleteExec(h.ctx, "x", "e")
	h.must(err)
	h.kill("x")
	h.remove("x")
}
