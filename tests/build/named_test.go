package build_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/busybox"
)

// Contexts beside the main one, of each kind; one may be called as BuildKit
// calls its own.
func TestNamedContextsOfAllKinds(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	url := repository(t, d)
	d.Write("web/file", "from the web")
	d.Write("dir/f", "of a directory")
	d.Write("ctx/main", "")
	layout := filepath.Join(d.Dir, "layout")
	archive := d.Write("layout.tar", "")
	f, err := os.Create(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := busybox.Archive(f, "in-a-layout:one"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	d.Write("layout/x", "")
	untar(t, archive, layout)
	d.Write("ctx/Dockerfile", `FROM base
COPY --from=dir f /dir
COPY --from=web context /web
COPY --from=repo here /repo
COPY --from=layout /bin/busybox /layout
COPY --from=context f /context
COPY . /main
RUN cat /dir /web /repo /context; ls /main
`)
	args := []string{"build", "--progress", "plain", "ctx", "--build-context", "base=docker-image://" + image, "--build-context", "dir=dir", "--build-context", "web=" + url + "/file",
		"--build-context", "repo=" + url + "/repo.git#other:sub/dir", "--build-context", "layout=oci-layout://layout:one", "--build-context", "context=dir"}
	r := d.Docker(args...)
	if want := "of a directoryfrom the webin the directory"; r.Code != 0 || !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "of a directoryDockerfile") {
		t.Errorf("no %q in %v", want, r)
	}
	for context, want := range map[string]string{
		"base=nowhere": `path "nowhere" not found`, "base=docker-image://nowhere.invalid/x": "nowhere.invalid", "base=oci-layout://dir": "no OCI layout",
		"base=oci-layout://layout:two": `no image with the tag "two"`, "base": "write name=path",
	} {
		if r := d.FailDocker("build", "--build-context", context, "ctx"); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "prune", "-f")
}

// What a build shows, and where.
func TestProgressOfBuilds(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN echo said by the step\n")
	shows := func(env []string, args ...string) (out, errs string) {
		t.Helper()
		cmd := d.DockerCommand(d.Dir, append([]string{"build", "--no-cache", "ctx"}, args...)...)
		cmd.Env = append(cmd.Env, env...)
		r := d.Finish(cmd)
		if r.Code != 0 {
			t.Errorf("%v", r)
		}
		return r.Stdout, r.Stderr
	}
	for _, c := range []struct{ env, args []string }{{nil, []string{"--progress", "plain"}}, {[]string{"BUILDKIT_PROGRESS=plain"}, nil}, {nil, nil}} {
		if out, errs := shows(c.env, c.args...); out != "" || !strings.Contains(errs, " said by the step\n") {
			t.Errorf("%q %q shows %q and %q", c.env, c.args, out, errs)
		}
	}
	if out, errs := shows(nil, "--progress", "none"); out+errs != "" {
		t.Errorf("without progress a build shows %q and %q", out, errs)
	}
	for _, flag := range []string{"-q", "--progress=quiet"} {
		if out, errs := shows([]string{"BUILDKIT_PROGRESS=plain"}, flag); !strings.HasPrefix(out, "sha256:") || strings.Count(out, "\n") != 1 || errs != "" {
			t.Errorf("with %s a build shows %q and %q", flag, out, errs)
		}
	}
	_, errs := shows(nil, "--progress", "rawjson")
	var said string
	for line := range strings.Lines(errs) {
		var status struct {
			Logs []struct{ Data []byte }
		}
		if err := json.Unmarshal([]byte(line), &status); err != nil {
			t.Fatalf("rawjson: %q: %v", line, err)
		}
		for _, l := range status.Logs {
			said += string(l.Data)
		}
	}
	if said != "said by the step\n" {
		t.Errorf("rawjson has %q", said)
	}
	for want, args := range map[string][]string{"not a console": {"--progress", "tty"}, "invalid progress mode some": {"--progress", "some"}} {
		if r := d.FailDocker(append([]string{"build", "ctx"}, args...)...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "prune", "-f")
}
