package docker_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/creack/pty"
)

// terminal is a command with a terminal of its own.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File
	done chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	seen int // what expect has passed
}

func openTerminal(t *testing.T, cmd *exec.Cmd, rows, cols uint16) *terminal {
	t.Helper()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: cols})
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, cmd: cmd, pty: f, done: make(chan struct{})}
	go func() {
		defer close(term.done)
		io.Copy(term, f) // EIO when the command has ended
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		f.Close()
		<-term.done
	})
	return term
}

func (term *terminal) Write(p []byte) (int, error) {
	term.mu.Lock()
	defer term.mu.Unlock()
	return term.text.Write(p)
}

func (term *terminal) send(keys string) {
	term.t.Helper()
	if _, err := term.pty.WriteString(keys); err != nil {
		term.t.Fatal(err)
	}
}

// expect waits until a text is shown after what was expected before.
func (term *terminal) expect(text string) {
	term.t.Helper()
	harness.Eventually(term.t, "the terminal shows "+text, func() error {
		if !term.shows(text) {
			term.mu.Lock()
			defer term.mu.Unlock()
			return errors.New(term.text.String())
		}
		return nil
	})
}

func (term *terminal) shows(text string) bool {
	term.mu.Lock()
	defer term.mu.Unlock()
	i := strings.Index(term.text.String()[term.seen:], text)
	if i >= 0 {
		term.seen += i + len(text)
	}
	return i >= 0
}

// end waits for the command, and returns its exit code.
func (term *terminal) end() int {
	term.t.Helper()
	select {
	case <-term.done:
	case <-time.After(time.Minute):
		term.t.Fatalf("the command does not end; the terminal shows\n%s", term.text.String())
	}
	term.cmd.Wait()
	return term.cmd.ProcessState.ExitCode()
}

func TestTerminalOfAContainer(t *testing.T) {
	t.Parallel()
	d := start(t)
	term := openTerminal(t, d.DockerCommand(d.Dir, "run", "-it", "--name", "box", "-e", "PS1=ready: ", image, "sh"), 30, 100)
	term.expect("ready: ")
	term.send("stty size\n")
	term.expect("30 100")
	if err := pty.Setsize(term.pty, &pty.Winsize{Rows: 24, Cols: 91}); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the container's terminal has the new size", func() error {
		term.send("stty size\n")
		term.expect("ready: ")
		if !term.shows("24 91") {
			return errors.New("not yet")
		}
		return nil
	})
	term.send("trap 'echo in''terrupted' INT\n")
	term.send("\x03")
	term.expect("interrupted")
	term.send("\x10\x11") // ctrl-p ctrl-q
	if code := term.end(); code != 0 {
		t.Errorf("detaching ends with %d", code)
	}
	if state := inspect(d, "box", "{{.State.Status}}"); state != "running" {
		t.Fatalf("after detaching it is %s", state)
	}

	term = openTerminal(t, d.DockerCommand(d.Dir, "exec", "-it", "box", "sh", "-c", "stty size; read line; exit $line"), 20, 80)
	term.expect("20 80")
	term.send("5\n")
	if code := term.end(); code != 5 {
		t.Errorf("exec ends with %d", code)
	}

	d.Write("docker-config/config.json", `{"detachKeys": "ctrl-x,x"}`)
	term = openTerminal(t, d.DockerCommand(d.Dir, "attach", "box"), 20, 80)
	term.send("echo at''tached\n")
	term.expect("attached")
	term.send("\x18x")
	if code := term.end(); code != 1 && code != 0 { // docker attach says "read escape sequence"
		t.Errorf("detaching ends with %d", code)
	}
	term = openTerminal(t, d.DockerCommand(d.Dir, "attach", "--detach-keys", "ctrl-y", "box"), 20, 80)
	term.send("echo a''gain; exit 7\n")
	term.expect("again")
	if code := term.end(); code != 7 {
		t.Errorf("attach ends with %d", code)
	}
}

// Without a terminal, signals go to the container's process.
func TestSignalsReachTheContainer(t *testing.T) {
	t.Parallel()
	d := start(t)
	cmd := d.DockerCommand(d.Dir, "run", "--rm", "--name", "box", image, "sh", "-c", "trap 'exit 3' INT; trap 'exit 4' TERM; echo set; while :; do sleep 0.05; done")
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 3, syscall.SIGTERM: 4} {
		run := exec.Command(cmd.Path, cmd.Args[1:]...)
		run.Env, run.Dir = cmd.Env, cmd.Dir
		out, err := run.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("set\n"))); err != nil {
			t.Fatal(err)
		}
		run.Process.Signal(signal)
		run.Wait()
		if got := run.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d, want %d", signal, got, code)
		}
	}
}

// What follows a stream ends at Ctrl-C, with the code of a signal.
func TestFollowersEndAtASignal(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "box", image, "sh", "-c", "while :; do echo line; sleep 0.05; done")
	for _, args := range [][]string{{"logs", "-f", "box"}, {"events", "--since", "1"}} {
		run := d.Called("docker", d.Dir, args...)
		out, err := run.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		run.Process.Signal(os.Interrupt)
		run.Wait()
		if code := run.ProcessState.ExitCode(); code != 130 {
			t.Errorf("docker %v: exit code %d", args, code)
		}
	}
}

func TestAttachTellsOfALostDaemon(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-dit", "--name", "box", "-e", "PS1=ready: ", image, "sh")
	term := openTerminal(t, d.Called("docker", d.Dir, "attach", "box"), 20, 80)
	term.send("echo at''tached\n")
	term.expect("attached")
	d.Kill9()
	term.expect("containers run on")
	if code := term.end(); code != 1 {
		t.Errorf("attach ends with %d", code)
	}
	d.Launch()
	term = openTerminal(t, d.Called("docker", d.Dir, "attach", "box"), 20, 80)
	term.send("echo a''gain; exit\n")
	term.expect("again")
	if code := term.end(); code != 0 {
		t.Errorf("the second attach ends with %d", code)
	}
}
