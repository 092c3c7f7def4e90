// Package pid1 is the first process of a container with "init: true": it starts
// the container's command, forwards signals to it, reaps what is orphaned, and
// ends as the command ended. Importing it is enough: when the program is called
// as "… init [--] COMMAND [ARG…]", or as docker-init or gantry-init (with
// "[--] COMMAND [ARG…]"), it never comes to main.
//
// It behaves as tini does: exit code 128+n when signal n ended the command, 127
// when the command is not there, 126 when it cannot be run.
package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"unsafe"
)

const (
	exitFailure    = 1
	exitCannotRun  = 126
	exitNotFound   = 127
	exitSignalBase = 128
)

// This runs in init rather than in main because the shim's packages take
// longer to set up than a container's command takes to start. Go initializes
// packages in the order of their paths as far as their imports allow, so this
// one, with nothing but the standard library, comes before most of them.
func init() {
	command, ok := parse(os.Args)
	if !ok {
		return
	}
	code, err := run(command)
	if err != nil {
		fmt.Fprintf(os.Stderr, "gantry-init: %v\n", err)
	}
	os.Exit(code)
}

// parse tells whether the program was called as an init, and for what command.
func parse(args []string) (command []string, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	switch filepath.Base(args[0]) {
	case "docker-init", "gantry-init":
		args = args[1:]
	default:
		if len(args) < 2 || args[1] != "init" {
			return nil, false
		}
		args = args[2:]
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	return args, true
}

func run(command []string) (code int, err error) {
	if len(command) == 0 {
		return exitFailure, errors.New("no command; call it as: init -- COMMAND [ARG…]")
	}
	// Each signal takes Go some 100 µs, so that only those which may come at
	// once are caught before the command starts.
	signals := make(chan os.Signal, 128)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT,
		syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU)

	child, err := start(command)
	if err != nil {
		code = exitCannotRun
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
			code = exitNotFound
		}
		return code, fmt.Errorf("exec %s failed: %w", command[0], reason(err))
	}
	go signal.Notify(signals, forwarded()...)
	for s := range signals {
		switch s {
		case syscall.SIGCHLD:
			if code, ended := reap(child); ended {
				return code, nil
			}
		case syscall.SIGTTIN, syscall.SIGTTOU:
			// The terminal is the command's; these are about ours.
		default:
			syscall.Kill(child, s.(syscall.Signal))
		}
	}
	return exitFailure, nil
}

// forwarded are all signals but those that are an error of this process, those
// that cannot be caught, and SIGURG, with which Go interrupts its own threads.
func forwarded() (all []os.Signal) {
	const last = 64
	for n := syscall.Signal(1); n <= last; n++ {
		switch n {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGURG, 32, 33,
			syscall.SIGFPE, syscall.SIGILL, syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGABRT, syscall.SIGTRAP, syscall.SIGSYS:
		default:
			all = append(all, n)
		}
	}
	return all
}

// start runs the command in a process group of its own, in the foreground if
// there is a terminal.
func start(command []string) (pid int, err error) {
	path, err := exec.LookPath(command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return 0, err
	}
	attr := &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Foreground: hasTerminal(), Ctty: 0},
	}
	pid, err = syscall.ForkExec(path, command, attr)
	if errors.Is(err, syscall.ENOEXEC) { // a script without "#!", as execvp(3) takes it
		script := append([]string{"/bin/sh", path}, command[1:]...)
		pid, err = syscall.ForkExec(script[0], script, attr)
	}
	return pid, err
}

// hasTerminal reports whether stdin is the controlling terminal.
func hasTerminal() bool {
	var group int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group)))
	return errno == 0
}

// reap collects all that has ended. When the command is among them, it returns
// the code to end with.
func reap(child int) (code int, ended bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return code, ended
		}
		if pid != child {
			continue
		}
		ended = true
		if code = status.ExitStatus(); status.Signaled() {
			code = exitSignalBase + int(status.Signal())
		}
	}
}

// reason is the innermost error, as execvp(3) would give it.
func reason(err error) error {
	var notFound *exec.Error
	if errors.As(err, &notFound) {
		err = notFound.Err
	}
	if errors.Is(err, exec.ErrNotFound) {
		return syscall.ENOENT
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
