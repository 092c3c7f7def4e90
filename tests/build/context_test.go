package build_test

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What a directory has beside files is sent as it is, and its names are shown
// without being obeyed.
func TestContextsHaveMoreThanFiles(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	ctx := filepath.Join(d.Dir, "ctx")
	for _, name := range []string{"new\nline", "esc\x1b]0;title\a", "\u202ebidi", "ütf", strings.Repeat("d/", 300) + "deep"} {
		d.Write("ctx/"+name, "x")
	}
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(ctx, "socket")})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := errors.Join(syscall.Mkfifo(filepath.Join(ctx, "fifo"), 0o600), syscall.Mknod(filepath.Join(ctx, "device"), syscall.S_IFCHR|0o600, 1<<8|3)); err != nil {
		t.Fatal(err)
	}
	d.Write("ctx/Dockerfile", "FROM "+image+" AS kinds\nCOPY . /ctx/\nRUN cd /ctx && test -p fifo -a -c device -a ! -s socket && find . -name deep && ls | wc -l > /count; ls | wc -l # \x1b]0;evil\a\n"+
		"FROM "+image+"\nCOPY --from=kinds /ctx/new* /count /\nCOPY no-such-file-\x1b[5m /\n")
	r := d.FailDocker("build", "--progress", "plain", "ctx")
	if strings.ContainsFunc(r.Stderr, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) || !strings.Contains(r.Stderr, `\x1b]0;evil\a`) {
		t.Errorf("a terminal would obey %q", r.Stderr)
	}
	dir := d.Project("shop", "name: shop\nservices:\n  web: {build: ../ctx}\n")
	for _, verb := range [][]string{{"build"}, {"up", "-d"}} {
		if r := d.Fail(dir, verb...); strings.Contains(r.Stderr, "\x1b") {
			t.Errorf("a terminal would obey %q", r.Stderr)
		}
	}
	if r := d.Docker("build", "--progress", "plain", "--target", "kinds", "-t", "kinds", "ctx"); r.Code != 0 || !strings.Contains(r.Stderr, "/d/deep") {
		t.Error(r)
	}
	if got := d.MustDocker("run", "--rm", "kinds", "cat", "/count"); got != "9\n" {
		t.Errorf("the image has %s of the context's names", got)
	}
	d.MustDocker("image", "rm", "kinds")
}

// A context that cannot be sent whole is none: the build fails and says why.
func TestContextsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", "FROM "+image+"\nCOPY . /\n")
	d.Write("other/\xff", "x")
	d.Write("other/Dockerfile", "FROM "+image+"\nCOPY . /\n")
	file := d.Write("ctx/file", "") // its reads fail, for root as well
	if err := syscall.Mount("/proc/self/mem", file, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(file, 0) })
	both := d.Project("shop", "name: shop\nservices:\n  web: {build: ../ctx}\n")
	named := d.Project("named", "name: named\nservices:\n  web: {build: ../other}\n")
	const unread, unnamed = "ctx/file: input/output error", "not valid UTF-8: rename the file, or exclude it in .dockerignore"
	for _, r := range []struct{ got, want string }{
		{d.FailDocker("build", "ctx").Stderr, unread}, {d.Fail(both, "build").Stderr, unread}, {d.Fail(both, "up", "-d").Stderr, unread},
		{d.FailDocker("build", "other").Stderr, unnamed}, {d.Fail(named, "build").Stderr, unnamed},
	} {
		if !strings.Contains(r.got, r.want) {
			t.Errorf("no %q in %s", r.want, r.got)
		}
	}
	for _, ctx := range []string{"ctx", "other"} {
		d.Write(ctx+"/.dockerignore", "*\n!Dockerfile\n")
		d.MustDocker("build", "-q", "-t", "rest", ctx)
	}
	d.MustDocker("image", "rm", "rest")
	d.MustDocker("image", "prune", "-f")
}
