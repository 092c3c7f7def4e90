package api

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
)

func dialQuiet(path string) (net.Conn, error) { return net.Dial("unix", path) }

func socketDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "gantry-api-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSocketBelongsToRootAndGroup(t *testing.T) {
	for group, gid := range map[string]uint32{"": 0, "no-such-group-here": 0, "daemon": 1} {
		path := filepath.Join(socketDir(t), "made", "s.sock")
		ls, err := Listen([]string{"unix://" + path}, group)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		if info.Mode().Perm() != 0o660 || st.Uid != 0 || st.Gid != gid {
			t.Errorf("group %q: mode %o, owner %d:%d", group, info.Mode().Perm(), st.Uid, st.Gid)
		}
		ls[0].Close()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("the socket stays after its end: %v", err)
		}
	}
}

// A socket that a killed daemon left is replaced, one that answers is not.
func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(socketDir(t), "s.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen([]string{"unix://" + path}, ""); !errdefs.IsAlreadyExists(err) {
		t.Fatalf("a socket that somebody serves: %v", err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	ls, err := Listen([]string{"unix://" + path}, "")
	if err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	defer ls[0].Close()
	conn, err := dialQuiet(path)
	if err != nil {
		t.Fatalf("nobody answers: %v", err)
	}
	conn.Close()
}

func TestHostsThatAreRefused(t *testing.T) {
	dir := socketDir(t)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, is := range map[string]func(error) bool{
		"/run/x.sock":                         errdefs.IsInvalidArgument,
		"unix://x.sock":                       errdefs.IsInvalidArgument,
		"unix:///" + strings.Repeat("x", 120): errdefs.IsInvalidArgument,
		"unix://" + file:                      errdefs.IsAlreadyExists,
		"tcp://0.0.0.0:0":                     errdefs.IsInvalidArgument,
		"tcp://:0":                            errdefs.IsInvalidArgument,
		"tcp://[::]:0":                        errdefs.IsInvalidArgument,
		"tcp://192.0.2.1:0":                   errdefs.IsInvalidArgument,
		"tcp://evil.example:0":                errdefs.IsInvalidArgument,
		"tcp://127.0.0.1":                     errdefs.IsInvalidArgument,
		"npipe:////./pipe/x":                  errdefs.IsInvalidArgument,
		"fd://3":                              errdefs.IsInvalidArgument,
		"fd://":                               errdefs.IsFailedPrecondition,
	} {
		ls, err := Listen([]string{host}, "")
		if !is(err) {
			t.Errorf("%s: %v", host, err)
		}
		for _, l := range ls {
			l.Close()
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("the file in the way: %q, %v", b, err)
	}
}

// Of several hosts all are opened or none.
func TestListenIsAllOrNothing(t *testing.T) {
	path := filepath.Join(socketDir(t), "s.sock")
	if _, err := Listen([]string{"unix://" + path, "tcp://0.0.0.0:0"}, ""); err == nil {
		t.Fatal("no error")
	}
	if _, err := dialQuiet(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the first is still there: %v", err)
	}
}

func TestListenOnLoopback(t *testing.T) {
	for _, host := range []string{"tcp://127.0.0.1:0", "tcp://localhost:0"} {
		ls, err := Listen([]string{host}, "")
		if err != nil {
			t.Fatal(err)
		}
		if ip := ls[0].Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
			t.Errorf("%s listens on %s", host, ip)
		}
		ls[0].Close()
	}
}

// Sockets that systemd opened are taken over: a child gets one as systemd
// passes them on, and answers on it.
func TestListenOnSocketsOfSystemd(t *testing.T) {
	const role = "GANTRY_API_TEST_ACTIVATED"
	if os.Getenv(role) != "" {
		ls, err := Listen([]string{"fd://"}, "")
		if err != nil || len(ls) != 1 {
			t.Fatalf("got %v, %v", ls, err)
		}
		conn, err := ls[0].Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("activated"))
		conn.Close()
		return
	}
	path := filepath.Join(socketDir(t), "s.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), "sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestListenOnSocketsOfSystemd$'`, self)
	cmd.Env = append(os.Environ(), role+"=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{file}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn, err := dialQuiet(path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(conn)
	if werr := cmd.Wait(); werr != nil || err != nil || string(got) != "activated" {
		t.Errorf("got %q, %v; the child: %v\n%s", got, err, werr, out.String())
	}
}
