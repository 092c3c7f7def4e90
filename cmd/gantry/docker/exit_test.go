package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/cli/cli"
)

func TestExitCodesAreDockers(t *testing.T) {
	unreachable := errors.New("the daemon does not run")
	interrupted, cancel := context.WithCancelCause(context.Background())
	cancel(terminated{syscall.SIGINT})
	for name, tc := range map[string]struct {
		ctx         context.Context
		err, failed error
		code        int
		text        string
	}{
		"success":                    {},
		"any error":                  {err: errors.New("no such container"), code: 1, text: "no such container\n"},
		"of a container":             {err: cli.StatusError{StatusCode: 42}, code: 42},
		"with a text":                {err: fmt.Errorf("x: %w", cli.StatusError{StatusCode: 125, Status: "bad flag"}), code: 125, text: "x: bad flag\n"},
		"told to end":                {err: fmt.Errorf("wait: %w", terminated{syscall.SIGTERM}), code: 143},
		"Ctrl-C":                     {ctx: interrupted, err: fmt.Errorf("read: %w", context.Canceled), code: 130},
		"a stream cut":               {ctx: interrupted, err: errors.New("read on closed body"), code: 130},
		"its own end":                {ctx: interrupted, err: cli.StatusError{StatusCode: 3}, code: 3},
		"a prompt left":              {err: context.Canceled},
		"no daemon":                  {err: errors.New("connection refused"), failed: unreachable, code: 1, text: "docker: the daemon does not run\n"},
		"no daemon, like no command": {err: cli.StatusError{StatusCode: 127, Status: "no such file or directory"}, failed: unreachable, code: 125, text: "docker: the daemon does not run\n"},
		"no daemon any more":         {err: cli.StatusError{StatusCode: 3}, failed: unreachable, code: 3},
	} {
		if tc.ctx == nil {
			tc.ctx = context.Background()
		}
		var errs bytes.Buffer
		f := &Front{Name: "docker", Err: &errs, Explain: func(error) error { return tc.failed }}
		code, exit := 0, (*Exit)(nil)
		if err := f.finish(tc.ctx, tc.err); errors.As(err, &exit) {
			code = exit.Code
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if code != tc.code || errs.String() != tc.text {
			t.Errorf("%s: exit code %d, %q; want %d, %q", name, code, errs.String(), tc.code, tc.text)
		}
	}
}

func TestVersionIsTheModules(t *testing.T) {
	b, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/docker/cli v" + CLIVersion + "+incompatible"; !strings.Contains(string(b), want) {
		t.Errorf("go.mod does not have %q", want)
	}
}
