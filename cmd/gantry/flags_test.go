package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// buffer takes writes of several goroutines, as a file does.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newTestCLI has no terminal, no environment and no daemon.
func newTestCLI(t *testing.T) (c *cli, out, errs *buffer) {
	t.Helper()
	out, errs = &buffer{}, &buffer{}
	c = newCLI("gantry", strings.NewReader(""), out, errs)
	c.getenv = func(string) string { return "" }
	return c, out, errs
}

// composeFlags are Docker Compose's flags by verb: NAME, NAME/SHORTHAND, with
// =DEFAULT where that is not the zero value.
// Source: docker compose VERB --help, version 2.40.
var composeFlags = map[string]string{
	"attach":  "detach-keys=ctrl-p,ctrl-q index no-stdin sig-proxy=true",
	"commit":  "author/a change/c index message/m pause/p=true",
	"build":   "build-arg builder check compress=true force-rm=true memory/m no-cache no-rm=true parallel=true print provenance pull push quiet/q sbom ssh with-dependencies",
	"config":  "environment format=yaml hash images lock-image-digests models networks no-consistency no-env-resolution no-interpolate no-normalize no-path-resolution output/o profiles quiet/q resolve-image-digests services variables volumes",
	"cp":      "all archive/a follow-link/L index",
	"create":  "build force-recreate no-build no-recreate pull=policy quiet-pull remove-orphans scale yes/y",
	"export":  "index output/o",
	"down":    "remove-orphans rmi timeout/t volumes/v",
	"events":  "json since until",
	"exec":    "detach/d env/e index interactive/i=true no-tty/T=true privileged tty/t=true user/u workdir/w",
	"images":  "format=table quiet/q",
	"kill":    "remove-orphans signal/s=SIGKILL",
	"logs":    "follow/f index no-color no-log-prefix since tail/n=all timestamps/t until",
	"ls":      "all/a filter format=table quiet/q",
	"pause":   "",
	"port":    "index protocol=tcp",
	"publish": "insecure-registry oci-version resolve-image-digests with-env yes/y",
	"ps":      "all/a filter format=table no-trunc orphans=true quiet/q services status",
	"pull":    "ignore-buildable ignore-pull-failures include-deps policy quiet/q",
	"restart": "no-deps timeout/t",
	"rm":      "all/a force/f stop/s volumes/v",
	"run":     "build cap-add cap-drop detach/d entrypoint env-from-file env/e interactive/i=true label/l name no-deps no-tty/T=true publish/p pull=policy quiet-build quiet-pull quiet/q remove-orphans rm service-ports/P tty/t=true use-aliases user/u volume/v workdir/w",
	"scale":   "no-deps",
	"start":   "wait wait-timeout",
	"stats":   "all/a format no-stream no-trunc",
	"stop":    "timeout/t",
	"top":     "",
	"unpause": "",
	"up": "abort-on-container-exit abort-on-container-failure always-recreate-deps attach attach-dependencies build detach/d exit-code-from force-recreate menu " +
		"no-attach no-build no-color no-deps no-log-prefix no-recreate no-start pull=policy quiet-build quiet-pull remove-orphans renew-anon-volumes/V scale timeout/t timestamps wait wait-timeout watch/w yes/y",
	"version": "format/f short",
	"volumes": "format=table quiet/q",
	"wait":    "down-project",
	"watch":   "no-up prune=true quiet",
}

func describe(f *pflag.Flag) string {
	s := f.Name
	if f.Shorthand != "" {
		s += "/" + f.Shorthand
	}
	switch f.DefValue {
	case "", "false", "0", "[]":
	default:
		s += "=" + f.DefValue
	}
	return s
}

func flagsOf(cmd *cobra.Command) string {
	var list []string
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" && cmd.InheritedFlags().Lookup(f.Name) == nil {
			list = append(list, describe(f))
		}
	})
	slices.Sort(list)
	return strings.Join(list, " ")
}

func TestFlagsAreDockerComposes(t *testing.T) {
	c, _, _ := newTestCLI(t)
	root := newRootCommand(c)
	compose, _, err := root.Find([]string{"compose"})
	if err != nil {
		t.Fatal(err)
	}
	for _, parent := range []*cobra.Command{root, compose} {
		for verb, want := range composeFlags {
			cmd, _, err := parent.Find([]string{verb})
			if err != nil || cmd.Name() != verb {
				t.Errorf("%s has no verb %q: %v", parent.Name(), verb, err)
				continue
			}
			list := strings.Fields(want)
			slices.Sort(list)
			if d := cmp.Diff(strings.Join(list, " "), flagsOf(cmd)); d != "" {
				t.Errorf("%s: %s", cmd.CommandPath(), d)
			}
		}
	}
	if cmd, _, err := root.Find([]string{"convert"}); err != nil || cmd.Name() != "config" {
		t.Errorf("convert is no alias of config: %v", err)
	}
}

func TestGlobalFlags(t *testing.T) {
	c, out, _ := newTestCLI(t)
	dir := t.TempDir()
	writeFile(t, dir+"/a.yaml", "services: {web: {image: nginx, profiles: [x]}}")
	writeFile(t, dir+"/b.yaml", "services: {db: {image: \"$IMAGE\"}}")
	writeFile(t, dir+"/env", "IMAGE=postgres:16")
	code := execute(t.Context(), c, []string{"compose", "-f", dir + "/a.yaml", "--file", dir + "/b.yaml", "-p", "demo", "--profile", "x",
		"--env-file", dir + "/env", "--project-directory", dir, "config", "--images"})
	if code != 0 || out.String() != "nginx\npostgres:16\n" {
		t.Errorf("exit code %d, output %q", code, out.String())
	}
	if c.global.projectName != "demo" {
		t.Errorf("project name %q", c.global.projectName)
	}
}

func TestComposeFileFromStandardInput(t *testing.T) {
	c, out, errs := newTestCLI(t)
	c.in = strings.NewReader("name: piped\nservices: {a: {image: x, profiles: [off]}, b: {image: y}}")
	// a service of a profile that is off makes it being read twice
	code := execute(t.Context(), c, []string{"-f", "-", "config", "--hash", "a,b"})
	if code != 0 || !strings.HasPrefix(out.String(), "a ") || !strings.Contains(out.String(), "\nb ") {
		t.Errorf("exit code %d, output %q, errors %q", code, out.String(), errs.String())
	}
}

func TestExitCodesAndErrors(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/broken.yaml", "services:\n\tweb: {}\n")
	writeFile(t, dir+"/unsupported.yaml", "services:\n  web:\n    image: nginx\n    storage_opt: {size: 1g}\n")
	writeFile(t, dir+"/ok.yaml", "services: {web: {image: nginx}}")
	for _, test := range []struct {
		args string
		code int
		want string // in the error
	}{
		{"version --short", 0, ""},
		{"-v", 0, ""},
		{"nonsense", 16, `unknown command: "gantry nonsense"`},
		{"compose nonsense", 16, `unknown command: "gantry compose nonsense"`},
		{"publish UPPER", 1, "must be lowercase"},
		{"compose alpha viz", 1, "alpha is not supported: "},
		{"scale web", 16, "SERVICE=REPLICAS"},
		{"upp", 16, "did you mean up"},
		{"up --bild", 16, "unknown flag: --bild; see 'gantry up --help'"},
		{"up --build --no-build", 16, "incompatible"},
		{"ps --status nowhere", 16, "unknown status"},
		{"--ansi sometimes version", 16, "unsupported --ansi"},
		{"--progress loud version", 16, "unsupported --progress"},
		{"--parallel 0 version", 16, "--parallel"},
		{"exec web", 16, "at least 2 argument"},
		{"port web", 16, "takes [OPTIONS] SERVICE PRIVATE_PORT"},
		{"logs --tail few", 16, "invalid --tail"},
		{"logs --since yesterday", 16, "invalid --since"},
		{"up -d --watch", 16, "cannot be combined"},
		{"-f DIR/ok.yaml watch", 1, "none of the selected services is configured for watch"},
		{"up -d --abort-on-container-exit", 16, "cannot be combined"},
		{"up --force-recreate --no-recreate", 16, "incompatible"},
		{"up --scale web", 16, "SERVICE=NUM"},
		{"up --pull sometimes", 16, "invalid value for --pull"},
		{"-f DIR/none.yaml ps", 14, "DIR/none.yaml"},
		{"--project-directory DIR/empty ps", 14, "no compose file"},
		{"-f DIR/broken.yaml config", 15, "DIR/broken.yaml:"},
		{"-f DIR/unsupported.yaml up -d", 15, "DIR/unsupported.yaml:4:5: "},
		{"-f DIR/ok.yaml up -d nobody", 1, `no such service: "nobody"`},
		{"-f DIR/ok.yaml up --exit-code-from nobody", 1, `no such service: "nobody"`},
		{"-f DIR/ok.yaml up --scale nobody=2", 1, `no such service: "nobody"`},
		{"-H unix:///nonexistent/s -f DIR/ok.yaml ps", 1, "gantry: no daemon in tests"},
		{"-H http://x -f DIR/ok.yaml ps", 1, "use unix:///PATH or tcp://HOST:PORT"},
	} {
		c, _, errs := newTestCLI(t)
		c.conn.start = func(_ context.Context, socket string) error { return fmt.Errorf("no daemon in tests") }
		code := execute(t.Context(), c, strings.Fields(strings.ReplaceAll(test.args, "DIR", dir)))
		if code != test.code {
			t.Errorf("gantry %s: exit code %d, want %d (%s)", test.args, code, test.code, errs)
		}
		text := errs.String()
		if want := strings.ReplaceAll(test.want, "DIR", dir); !strings.Contains(text, want) {
			t.Errorf("gantry %s: error %q lacks %q", test.args, text, want)
		}
		if test.code != 0 && (!strings.HasPrefix(text, "gantry: ") || strings.Count(text, "gantry: ") != 1) {
			t.Errorf("gantry %s: error %q is not prefixed once", test.args, text)
		}
	}
}

func TestErrorsAsJSON(t *testing.T) {
	c, _, errs := newTestCLI(t)
	if code := execute(t.Context(), c, []string{"--progress", "json", "logs", "--tail", "x"}); code != 16 {
		t.Errorf("exit code %d", code)
	}
	if want := `{"error":true,"message":"invalid --tail \"x\": use all or a number of lines"}` + "\n"; errs.String() != want {
		t.Errorf("got %q", errs.String())
	}
}

func TestReadable(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain",
		"it is unhealthy: failed precondition\n  last line":                   "it is unhealthy\n  last line",
		"2 errors occurred:\n\t* a: no\n\t* b: no\n\n":                        "a: no\nb: no",
		"1 error occurred:\n\t* step: 2 errors occurred:\n\t* x\n\t* y\n\n\n": "step: \nx\ny",
		"Error response from daemon: no such container":                       "no such container",
	} {
		if got := readable(in); got != want {
			t.Errorf("readable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/compose.yaml", "services: {web: {image: nginx}, db: {image: postgres}}")
	c, out, _ := newTestCLI(t)
	if code := execute(t.Context(), c, []string{"__complete", "--project-directory", dir, "logs", "-f", "db", ""}); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if !strings.HasPrefix(out.String(), "web\n:4") {
		t.Errorf("completions %q", out.String())
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		c, out, _ := newTestCLI(t)
		if code := execute(t.Context(), c, []string{"completion", shell}); code != 0 || !strings.Contains(out.String(), "gantry") {
			t.Errorf("completion %s: exit code %d", shell, code)
		}
	}
}
