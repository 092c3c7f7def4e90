// Package harness runs the real programs for end-to-end tests: a daemon with
// roots of its own, the CLI against it, and a look for all that it could leave
// on the host.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gantry/tests/busybox"
)

// patience bounds every single wait of the harness.
const patience = 2 * time.Minute

var build struct {
	once sync.Once
	dir  string
	err  error
}

// Binaries builds gantry and gantry-shim once per test program, into bin/test of
// this checkout, and returns that directory. GANTRY_BIN names one that has them
// already.
func Binaries(t testing.TB) string {
	t.Helper()
	build.once.Do(func() {
		if build.dir = os.Getenv("GANTRY_BIN"); build.dir != "" {
			build.dir, build.err = filepath.Abs(build.dir)
			return
		}
		build.dir, build.err = buildPrograms()
	})
	if build.err != nil {
		t.Fatalf("build the programs: %v", build.err)
	}
	return build.dir
}

func buildPrograms() (string, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(filepath.Dir(strings.TrimSpace(string(mod))), "bin", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", err
	}
	defer d.Close() // with it goes the lock: packages are tested side by side
	if err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir+"/", "gantry/cmd/gantry", "gantry/cmd/gantry-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return dir, nil
}

// Daemon is a gantry daemon with roots of its own.
type Daemon struct {
	T    testing.TB
	Dir  string // data/, run/, daemon.json, daemon.log
	Host string // unix://…

	bin   string
	cmd   *exec.Cmd
	ended chan struct{}
	snaps int // snapshots that belong to images
}

// Start runs a daemon. At the test's end everything of it is removed, and the
// test fails if something stays. config are lines of its daemon.json.
func Start(t testing.TB, config ...string) *Daemon {
	t.Helper()
	dir, err := os.MkdirTemp("/run", "gt-")
	if err != nil {
		t.Fatal(err)
	}
	d := &Daemon{T: t, Dir: dir, Host: "unix://" + dir + "/run/gantry.sock", bin: Binaries(t)}
	if !strings.Contains(strings.Join(config, ""), `"default-address-pools"`) {
		// subnets of its own: another daemon must not take them while this one is down
		pool := fmt.Sprintf("10.%d.%d.0/20", 96+rand.IntN(96), 16*rand.IntN(16)) // Podman has 10.88.0.0/16
		config = append(config, fmt.Sprintf(`"default-address-pools": [{"base": %q, "size": 26}]`, pool))
	}
	d.Write("daemon.json", "{\n"+strings.Join(config, ",\n")+"\n}\n")
	d.Launch()
	t.Cleanup(d.cleanup)
	return d
}

// Data and Run are the daemon's roots.
func (d *Daemon) Data() string { return filepath.Join(d.Dir, "data") }
func (d *Daemon) Run() string  { return filepath.Join(d.Dir, "run") }

// Write puts a file below the daemon's directory.
func (d *Daemon) Write(name, content string) string {
	d.T.Helper()
	p := filepath.Join(d.Dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o644)); err != nil {
		d.T.Fatal(err)
	}
	return p
}

// Launch starts the daemon's process and waits until it answers.
func (d *Daemon) Launch() {
	d.T.Helper()
	log, err := os.OpenFile(filepath.Join(d.Dir, "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		d.T.Fatal(err)
	}
	defer log.Close()
	config := filepath.Join(d.Dir, "daemon.json")
	args := []string{"daemon", "--config-file", config, "--data-root", d.Data(), "--exec-root", d.Run(), "--pidfile", filepath.Join(d.Dir, "pid")}
	if b, _ := os.ReadFile(config); !bytes.Contains(b, []byte(`"log-level"`)) {
		args = append(args, "--log-level", "debug")
	}
	cmd := exec.Command(filepath.Join(d.bin, "gantry"), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	ended := make(chan struct{})
	d.cmd, d.ended = cmd, ended
	go func() { cmd.Wait(); close(ended) }()
	Eventually(d.T, "the daemon answers", func() error {
		select {
		case <-ended:
			d.T.Fatalf("the daemon ended at once:\n%s", d.Log())
		default:
		}
		c, err := net.Dial("unix", strings.TrimPrefix(d.Host, "unix://"))
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Log is what the daemon has written.
func (d *Daemon) Log() string {
	b, _ := os.ReadFile(filepath.Join(d.Dir, "daemon.log"))
	if len(b) > 20000 {
		b = b[len(b)-20000:]
	}
	return string(b)
}

// Kill9 ends the daemon's process without a chance to clean up.
func (d *Daemon) Kill9() { d.signal(syscall.SIGKILL) }

// SmallDisk gives the daemon an empty disk of its own for its data, of a size
// such as 30m.
func (d *Daemon) SmallDisk(size string) {
	d.T.Helper()
	d.Stop()
	if err := syscall.Mount("tmpfs", d.Data(), "tmpfs", 0, "size="+size); err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() {
		d.Stop()
		if err := syscall.Unmount(d.Data(), 0); err != nil {
			d.T.Error(err)
		}
	})
	d.Launch()
}

// Stop asks the daemon to end.
func (d *Daemon) Stop() { d.signal(syscall.SIGTERM) }

func (d *Daemon) signal(s syscall.Signal) {
	d.T.Helper()
	d.cmd.Process.Signal(s)
	select {
	case <-d.ended:
	case <-time.After(patience):
		d.T.Fatalf("the daemon does not end after %v:\n%s", s, d.Log())
	}
}

// Pid of the daemon.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }

// Result is what a command did.
type Result struct {
	Program        string
	Args           []string
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("%s %s: exit code %d\n--- stdout\n%s--- stderr\n%s", r.Program, strings.Join(r.Args, " "), r.Code, r.Stdout, r.Stderr)
}

// Command prepares the CLI to be run against the daemon in a directory.
func (d *Daemon) Command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(d.bin, "gantry"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GANTRY_HOST="+d.Host, "XDG_CACHE_HOME="+filepath.Join(d.Dir, "cache"))
	return cmd
}

// Gantry runs the CLI in a directory, to its end.
func (d *Daemon) Gantry(dir string, args ...string) Result {
	d.T.Helper()
	return d.GantryInput(dir, "", args...)
}

// GantryInput runs the CLI with an input.
func (d *Daemon) GantryInput(dir, input string, args ...string) Result {
	d.T.Helper()
	return d.finish(d.Command(dir, args...), input)
}

// finish runs a command to its end.
func (d *Daemon) finish(cmd *exec.Cmd, input string) Result {
	d.T.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if cmd.Stdin == nil {
		cmd.Stdin = strings.NewReader(input)
	}
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	timer := time.AfterFunc(patience, func() { cmd.Process.Signal(syscall.SIGQUIT) })
	err := cmd.Wait()
	r := Result{Program: filepath.Base(cmd.Path), Args: cmd.Args[1:], Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
	if !timer.Stop() {
		d.T.Fatalf("%v\nit hung; the daemon says:\n%s", r, d.Log())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.T.Fatal(err)
	}
	return r
}

// Must runs the CLI and fails the test unless it succeeds; it returns stdout.
func (d *Daemon) Must(dir string, args ...string) string {
	d.T.Helper()
	r := d.Gantry(dir, args...)
	if r.Code != 0 {
		d.T.Fatalf("%v\n--- daemon\n%s", r, d.Log())
	}
	return r.Stdout
}

// Fail runs the CLI and fails the test if it succeeds.
func (d *Daemon) Fail(dir string, args ...string) Result {
	d.T.Helper()
	r := d.Gantry(dir, args...)
	if r.Code == 0 {
		d.T.Fatalf("should have failed: %v", r)
	}
	return r
}

// Busybox loads a busybox image under a name.
func (d *Daemon) Busybox(ref string, opts ...busybox.Option) {
	d.T.Helper()
	var b bytes.Buffer
	if err := busybox.Archive(&b, ref, opts...); err != nil {
		d.T.Fatal(err)
	}
	p := d.Write("image.tar", b.String())
	defer os.Remove(p)
	d.Must(d.Dir, "image", "load", "-i", p)
	d.snaps = len(d.snapshots())
}

// Project writes a compose file, and more files by name and content, into a
// directory of its own.
func (d *Daemon) Project(name, compose string, files ...string) string {
	d.T.Helper()
	d.Write(filepath.Join(name, "compose.yaml"), compose)
	for i := 0; i+1 < len(files); i += 2 {
		d.Write(filepath.Join(name, files[i]), files[i+1])
	}
	return filepath.Join(d.Dir, name)
}

// Eventually waits until f succeeds. It is for what has no event to wait for.
func Eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v until %s: %v", patience, what, err)
		}
	}
}

// FreePort is one of loopback's that nobody listens on.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Page asks an address for its page. It waits for nothing to come up.
func Page(t testing.TB, addr string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
