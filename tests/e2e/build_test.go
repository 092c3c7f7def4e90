package e2e

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gantry/tests/harness"
)

const shop = `
name: shop
services:
  web:
    build: {context: ., target: web, args: {GREETING: hello}}
    command: [sleep, "1000"]
    init: true
    depends_on:
      db: {condition: service_healthy}
  worker:
    build: {context: ., target: worker}
    command: [sleep, "1000"]
    init: true
  db:
    build:
      dockerfile_inline: |
        FROM busybox:test
        HEALTHCHECK --interval=1s CMD true
    command: [sleep, "1000"]
    init: true
`

const shopDockerfile = `FROM busybox:test AS base
COPY content /content
RUN --mount=type=cache,target=/cache date >>/cache/runs && wc -l </cache/runs >/runs
FROM base AS web
ARG GREETING=none
RUN echo $GREETING >/greeting
FROM base AS worker
RUN echo worker >/greeting
`

func builder(t *testing.T) *harness.Daemon {
	d := harness.Start(t)
	d.Busybox("busybox:test")
	return d
}

// ids are the containers' IDs, by name.
func ids(d *harness.Daemon, dir string) map[string]string {
	out := map[string]string{}
	for name, r := range ps(d, dir) {
		out[name] = r.ID
	}
	return out
}

func TestUpBuildsWhatIsMissingAndReplacesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("shop", shop, "Dockerfile", shopDockerfile, "content", "one\n", "ignored", "x\n", ".dockerignore", "ignored\n")
	d.Must(dir, "up", "-d")
	expectState(d, dir, map[string]string{"shop-db-1": "running", "shop-web-1": "running", "shop-worker-1": "running"})
	for service, want := range map[string]string{"web": "hello\none\n", "worker": "worker\none\n"} {
		if got := d.Must(dir, "exec", "-T", service, "cat", "/greeting", "/content"); got != want {
			t.Errorf("%s has %q, want %q", service, got, want)
		}
	}
	first := ids(d, dir)

	d.Must(dir, "up", "-d", "--build")
	if now := ids(d, dir); fmt.Sprint(now) != fmt.Sprint(first) {
		t.Errorf("images that were built to the same content replaced containers:\n%v\n%v", first, now)
	}
	// what was sent is not ignored: a file that .dockerignore names changes nothing
	d.Write("shop/ignored", "y\n")
	d.Must(dir, "build")
	if plan := d.Must(dir, "--dry-run", "up"); plan != "" {
		t.Errorf("nothing changed, yet there is a plan:\n%s", plan)
	}

	d.Write("shop/Dockerfile", strings.Replace(shopDockerfile, "echo worker", "echo changed", 1))
	d.Must(dir, "up", "-d", "--build")
	now := ids(d, dir)
	if now["shop-web-1"] != first["shop-web-1"] || now["shop-db-1"] != first["shop-db-1"] || now["shop-worker-1"] == first["shop-worker-1"] {
		t.Errorf("only worker's image changed:\n%v\n%v", first, now)
	}
	if got := d.Must(dir, "exec", "-T", "worker", "cat", "/greeting"); got != "changed\n" {
		t.Errorf("worker has %q", got)
	}
	d.Must(dir, "down", "--rmi", "local")
	if left := d.MustDocker("image", "ls", "-q", "--filter", "reference=shop-*"); left != "" {
		t.Errorf("down --rmi local left images %s", left)
	}
}

func TestBuildFailureNamesStepLineAndOutput(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("bad", "name: bad\nservices:\n  a:\n    build: .\n    command: [sleep, '100']\n",
		"Dockerfile", "FROM busybox:test AS first\nRUN true\n\nFROM first AS last\nRUN echo the last words; exit 7\n")
	for _, args := range [][]string{{"up", "-d"}, {"build"}} {
		r := d.Fail(dir, args...)
		for _, want := range []string{"[last 1/1] RUN echo the last words; exit 7", "exit code: 7", "Dockerfile:5", "the last words"} {
			if !strings.Contains(r.Stderr, want) {
				t.Errorf("%v does not tell %q:\n%s", args, want, r.Stderr)
			}
		}
		if r.Code != 17 {
			t.Errorf("%v ended with %d", args, r.Code)
		}
	}
	if left := ps(d, dir); len(left) > 0 {
		t.Errorf("containers of an image that could not be built: %v", left)
	}
	r := d.Fail(d.Project("gone", "name: gone\nservices:\n  a:\n    build: ./nowhere\n"), "build")
	if !strings.Contains(r.Stderr, filepath.Join("gone", "nowhere")) {
		t.Errorf("a missing context is told as:\n%s", r.Stderr)
	}
}

// sleeper is what a step of a build runs until somebody ends it: a process that
// can be told from all others.
const sleeper = "27182818"

const slow = "FROM busybox:test\nCOPY . /src\nRUN [ -e /src/fast ] || sleep " + sleeper + "\n"

// asleepPids are the processes of the step.
func asleepPids() (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range dirs {
		line, _ := os.ReadFile(f)
		if string(line) == "sleep\x00"+sleeper+"\x00" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// asleep begins a build and waits until its step runs.
func asleep(d *harness.Daemon, dir string, args ...string) *exec.Cmd {
	d.T.Helper()
	cmd := d.Command(dir, args...)
	if err := cmd.Start(); err != nil {
		d.T.Fatal(err)
	}
	d.T.Cleanup(func() { cmd.Process.Kill() })
	harness.Eventually(d.T, "the step runs", func() error {
		if len(asleepPids()) == 0 {
			return errors.New("it does not")
		}
		return nil
	})
	return cmd
}

// awake waits until nothing of a build is left running.
func awake(d *harness.Daemon) {
	d.T.Helper()
	harness.Eventually(d.T, "nothing of the build runs", func() error {
		if pids := asleepPids(); len(pids) > 0 {
			return fmt.Errorf("processes %v", pids)
		}
		mounts, _ := os.ReadFile("/proc/self/mountinfo")
		if strings.Contains(string(mounts), d.Run()+"/build/") {
			return errors.New("a step's file system is mounted")
		}
		bundles, _ := filepath.Glob(d.Run() + "/build/*/config.json")
		spaces, _ := filepath.Glob(d.Run() + "/netns/*")
		if len(bundles)+len(spaces) > 0 {
			return fmt.Errorf("left: %v %v", bundles, spaces)
		}
		return nil
	})
}

func TestInterruptedBuildsLeaveNothingAndGoOn(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("slow", "name: slow\nservices:\n  a:\n    build: .\n    command: [sleep, '100']\n    init: true\n", "Dockerfile", slow)
	for _, args := range [][]string{{"build"}, {"up", "-d"}} {
		cmd := asleep(d, dir, args...)
		cmd.Process.Signal(os.Interrupt)
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
			t.Errorf("%v ended with %d", args, cmd.ProcessState.ExitCode())
		}
		awake(d)
	}

	cmd := asleep(d, dir, "build")
	d.Kill9()
	if cmd.Wait(); cmd.ProcessState.Success() {
		t.Error("a build succeeded without its daemon")
	}
	d.Launch()
	awake(d)
	if got := d.MustDocker("image", "ls", "-q", "slow-a"); got != "" {
		t.Errorf("half an image can be seen: %s", got)
	}
	d.Write("slow/fast", "")
	d.Must(dir, "up", "-d")
	expectState(d, dir, map[string]string{"slow-a-1": "running"})
	d.Must(dir, "down")
}

func TestBuildSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	const fromFile, fromVariable = "s3cr3t-of-a-file", "s3cr3t-of-a-variable"
	d := builder(t)
	dir := d.Project("safe", `
name: safe
services:
  a:
    build:
      context: app
      secrets: [file, variable]
      cache_to: [type=inline]
secrets:
  file: {file: ./secret}
  variable: {environment: TOKEN}
`, "app/Dockerfile", `FROM busybox:test
RUN --mount=type=secret,id=file --mount=type=secret,id=variable,env=GIVEN \
    test "$(cat /run/secrets/file)" = `+strings.ReplaceAll(fromFile, "-", "$(printf -- -)")+` && \
    echo -n "$GIVEN" | wc -c >/length
`, "secret", fromFile, ".env", "TOKEN="+fromVariable+"\n")
	d.Must(dir, "build")
	if got := d.MustDocker("run", "--rm", "safe-a", "cat", "/length"); strings.TrimSpace(got) != strconv.Itoa(len(fromVariable)) {
		t.Errorf("the step saw a secret of %s bytes", got)
	}
	d.Must(dir, "create")
	searched := 0
	harness.Files(t, d.Data(), func(path string, _ fs.FileInfo) {
		searched++
		for _, secret := range []string{fromFile, fromVariable} {
			if has, err := holds(path, secret); has || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s has a secret: %t %v", path, has, err)
			}
		}
	})
	if searched < 10 {
		t.Errorf("searched only %d files", searched)
	}
	for _, told := range []string{d.MustDocker("image", "history", "--no-trunc", "safe-a"), d.Log()} {
		if strings.Contains(told, fromFile) || strings.Contains(told, fromVariable) {
			t.Errorf("a secret is told:\n%s", told)
		}
	}
	d.Must(dir, "down")
}

// holds searches a file, and what gzip has packed in it.
func holds(path, text string) (bool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	if unpacked, err := gzip.NewReader(bytes.NewReader(content)); err == nil {
		if content, err = io.ReadAll(unpacked); err != nil {
			return false, err
		}
	}
	return bytes.Contains(content, []byte(text)), nil
}

func TestBuildBeginsWithAnotherServicesImage(t *testing.T) {
	t.Parallel()
	d := builder(t)
	dir := d.Project("chain", `
name: chain
services:
  app:
    build:
      context: app
      additional_contexts: {base: "service:base", docs: ./docs}
    command: [sleep, "1000"]
    init: true
  base:
    build: {context: base}
    profiles: [tools]
`, "app/Dockerfile", "FROM base\nCOPY --from=docs page /page\n", "docs/page", "a page\n", "base/Dockerfile", "FROM busybox:test\nRUN echo base >/base\n")
	d.Must(dir, "--profile", "tools", "build", "app")
	d.Must(dir, "--profile", "tools", "up", "-d", "app")
	if got := d.Must(dir, "exec", "-T", "app", "cat", "/base", "/page"); got != "base\na page\n" {
		t.Errorf("app has %q", got)
	}
	d.Must(dir, "--profile", "tools", "run", "--rm", "--build", "-T", "base", "cat", "/base")
	d.Must(dir, "--profile", "*", "down", "--rmi", "all")
}
