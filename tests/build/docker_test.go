package build_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"gantry/tests/harness"
)

// daemon has a busybox image; it is used by the docker command line alone.
func daemon(t *testing.T, config ...string) *harness.Daemon {
	t.Helper()
	d := harness.Start(t, config...)
	d.Busybox(image)
	return d
}

// rich uses what the Dockerfile language has.
const rich = `# syntax=docker/dockerfile:1
# check=skip=all
ARG BASE=` + image + `
FROM ${BASE} AS parent
ONBUILD RUN echo triggered > /onbuild

FROM ${BASE} AS maker
ARG who=nobody
ENV GREETING="hello $who"
SHELL ["/bin/sh", "-ec"]
RUN <<EOT
echo "$GREETING" > /greeting
echo second line >> /greeting
EOT
RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/scratch \
    --mount=type=bind,target=/ctx --mount=type=secret,id=token \
    touch /cache/x /scratch/y && cp /ctx/dir/a /from-bind && wc -c < /run/secrets/token > /size && test ! -e /ctx/ignored
RUN --network=none ! ip route | grep default
RUN ip route | grep -q default
COPY <<"EOT" /raw
$not_expanded
EOT
ADD archive.tar /unpacked/

FROM scratch AS files
COPY --from=maker /greeting /

FROM parent
LABEL made=here
COPY --from=maker --chown=5:6 --chmod=640 /greeting /greeting
COPY --from=maker --link /raw /from-bind /size /unpacked/inner /
COPY --parents dir/sub/b /parents/
WORKDIR /work
RUN --mount=type=bind,from=extra,target=/extra cp /extra/note .
EXPOSE 8080/tcp
VOLUME /vol
STOPSIGNAL SIGINT
HEALTHCHECK --interval=7s CMD true
USER 5:6
ENTRYPOINT ["/bin/cat"]
CMD ["/greeting"]
`

func TestDockerBuildHasTheWholeLanguage(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	const secret = "s3cr3t-that-is-nowhere-else"
	archive, err := io.ReadAll(tarred(t, map[string]string{"inner": "unpacked\n"}))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"Dockerfile": rich, ".dockerignore": "ignored\n", "ignored": "no", "dir/a": "bound\n", "dir/sub/b": "parents\n", "archive.tar": string(archive),
	} {
		d.Write("ctx/"+name, content)
	}
	d.Write("extra/note", "extra\n")
	d.Write("token", secret)
	out := d.MustDocker("build", "-q", "-t", "app", "--secret", "id=token,src=token", "--build-context", "extra=extra", "--build-arg", "who=world",
		"--label", "l=v", "--iidfile", "iid", "--metadata-file", "meta.json", "ctx")
	id := strings.TrimSpace(out)
	if got, _ := os.ReadFile(filepath.Join(d.Dir, "iid")); string(got) != id || !strings.HasPrefix(id, "sha256:") {
		t.Errorf("printed %q, iidfile has %q", id, got)
	}
	var meta map[string]any
	if data, _ := os.ReadFile(filepath.Join(d.Dir, "meta.json")); json.Unmarshal(data, &meta) != nil || meta["containerimage.digest"] == nil {
		t.Errorf("metadata: %s", data)
	}
	if got := d.MustDocker("run", "--rm", "app"); got != "hello world\nsecond line\n" {
		t.Errorf("the image says %q", got)
	}
	got := d.MustDocker("run", "--rm", "-u", "0", "--entrypoint", "sh", "app", "-c", "stat -c '%u:%g %a' /greeting; cat /raw /from-bind /size /inner /onbuild /parents/dir/sub/b note; test ! -e /cache -a ! -e /run/secrets/token")
	if want := "5:6 640\n$not_expanded\nbound\n27\nunpacked\ntriggered\nparents\nextra\n"; got != want {
		t.Errorf("the image holds %q, want %q", got, want)
	}
	got = d.MustDocker("image", "inspect", "--format", `{{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.StopSignal}} {{.Config.User}} {{.Config.WorkingDir}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.Labels.made}} {{.Config.Labels.l}} {{.Config.Healthcheck.Interval}} {{.Id}}`, "app")
	if want := `{"8080/tcp":{}} {"/vol":{}} SIGINT 5:6 /work ["/bin/cat"] ["/greeting"] here v 7000000000 ` + id + "\n"; got != want {
		t.Errorf("inspect says %q, want %q", got, want)
	}
	if history := d.MustDocker("history", "--no-trunc", "app"); !strings.Contains(history, "COPY --parents dir/sub/b") || !strings.Contains(history, "STOPSIGNAL SIGINT") || strings.Contains(history, secret) {
		t.Errorf("history:\n%s", history)
	}
	d.MustDocker("create", "--name", "made", "app")
	if files := d.MustDocker("export", "made"); strings.Contains(files, secret) || !strings.Contains(files, "hello world") {
		t.Error("the secret is in the image, or nothing is")
	}
	d.MustDocker("rm", "-v", "made")
	again := d.MustDocker("build", "-q", "-t", "app", "--secret", "id=token,src=token", "--build-context", "extra=extra", "--build-arg", "who=world", "--label", "l=v", "ctx")
	if again != out {
		t.Errorf("an unchanged build made %q of %q", again, out)
	}
	d.MustDocker("build", "-q", "--secret", "id=token,src=token", "--build-arg", "who=out", "--target", "files", "-o", "dest", "ctx")
	if got, _ := os.ReadFile(filepath.Join(d.Dir, "dest/greeting")); string(got) != "hello out\nsecond line\n" {
		t.Errorf("the local output has %q", got)
	}
	d.MustDocker("image", "rm", "app")
}

func TestDockerBuildReadsStdinAndTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	r := d.DockerInput("FROM "+image+"\nRUN echo from stdin\n", "build", "--progress", "plain", "-t", "one", "-")
	if r.Code != 0 || !strings.Contains(r.Stderr, "from stdin") {
		t.Errorf("a Dockerfile on stdin: %v", r)
	}
	archive, _ := io.ReadAll(tarred(t, map[string]string{"Other": "FROM " + image + "\nCOPY f /\n", "f": "x"}))
	if r := d.DockerInput(string(archive), "image", "build", "-f", "Other", "-t", "two", "-"); r.Code != 0 {
		t.Errorf("an archive on stdin: %v", r)
	}
	d.Write("ctx/f", "x")
	if r := d.DockerInput("FROM "+image+"\nCOPY f /\n", "buildx", "build", "-f", "-", "-t", "three", "ctx"); r.Code != 0 {
		t.Errorf("a directory and a Dockerfile on stdin: %v", r)
	}
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN echo the last words; exit 5\n")
	r = d.FailDocker("build", "ctx")
	for _, want := range []string{"Dockerfile:2", ">>> RUN echo the last words; exit 5", "the last words", "exit code: 5"} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.Write("ctx/Dockerfile", "from "+image+" as x\nRUN true\n")
	if r := d.Docker("build", "--check", "ctx"); r.Code != 1 || !strings.Contains(r.Stdout, "1 warning has been found!") {
		t.Errorf("--check: %v", r)
	}
	for want, args := range map[string][]string{
		"not supported in builds": {"build", "--network", "container:x", "ctx"}, "not found": {"build", "nowhere"}, "--squash": {"build", "--squash", "ctx"}, "invalid tag": {"build", "-t", "UPPER", "ctx"},
	} {
		if r := d.FailDocker(args...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "rm", "one", "two", "three")
}

// running tells whether a process has an argument.
func running(arg string) bool {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if data, _ := os.ReadFile(name); strings.Contains(string(data), "sleep\x00"+arg) {
			return true
		}
	}
	return false
}

// The cache does not outgrow its limit, and what is pruned has left the disk.
func TestBuildCacheIsBoundedAndPruned(t *testing.T) {
	t.Parallel()
	d := daemon(t, `"builder": {"gc": {"defaultKeepStorage": "6MB"}}`)
	cached := func() string {
		t.Helper()
		for line := range strings.Lines(d.MustDocker("system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Size}}")) {
			if rest, ok := strings.CutPrefix(line, "Build Cache "); ok {
				return strings.TrimSpace(rest)
			}
		}
		t.Fatal("df tells nothing of the build cache")
		return ""
	}
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN head -c 9000000 /dev/urandom > /big\n")
	d.MustDocker("build", "-q", "-t", "app", "ctx")
	if before := cached(); strings.HasPrefix(before, "0 ") {
		t.Errorf("the cache holds %s after a build", before)
	}
	d.MustDocker("image", "rm", "app")
	d.Stop()
	d.Launch()
	harness.Eventually(t, "the cache is collected", func() error {
		if records := d.MustDocker("buildx", "du"); strings.Contains(records, "head -c") {
			return errors.New(records)
		}
		return nil
	})
	before := usage(t, d.Data())
	d.MustDocker("build", "-q", "-t", "small", "ctx")
	d.MustDocker("image", "rm", "small")
	idle(d)
	d.MustDocker("builder", "prune", "-af")
	if after := cached(); !strings.HasPrefix(after, "0 ") {
		t.Errorf("after prune the cache holds %s", after)
	}
	if after := usage(t, d.Data()); after > before+1_000_000 { // as much may have gone by itself
		t.Errorf("after prune there are %d bytes, before the build there were %d", after, before)
	}
}

// usage is what files below a directory take on the disk.
func usage(t *testing.T, dir string) (total int64) {
	t.Helper()
	harness.Files(t, dir, func(_ string, info fs.FileInfo) { total += info.Sys().(*syscall.Stat_t).Blocks * 512 })
	return total
}
