package build_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines are those of a step's output: those that begin with a mark, without
// what BuildKit writes before it.
func lines(progress, mark string) (out []string) {
	for line := range strings.Lines(progress) {
		if f := strings.SplitN(strings.TrimSpace(line), " ", 3); len(f) == 3 && strings.HasPrefix(f[0], "#") && strings.HasPrefix(f[2], mark) {
			out = append(out, f[2])
		}
	}
	return out
}

const adds = `# escape=^
FROM ` + image + `
ADD a.tar /tar/
ADD a.tar.gzip /gzip/
ADD a.tar.bzip2 /bzip2/
ADD a.tar.xz /xz/
ADD a.tar.zstd /zstd/
ADD --unpack=false a.tar /kept/
ADD text.gz /text/
ADD --link --chown=8:9 a.tar /linked/
ADD @URL@/a.tar /web/
ADD --checksum=sha256:@SUM@ --chown=3:4 --chmod=640 @URL@/a.tar /checked
ADD --unpack=true @URL@/a.tar.gzip /unpacked/
ADD @URL@/repo.git#other:sub/dir /git/
ADD --keep-git-dir=true @URL@/repo.git#v1 /gitdir/
COPY --exclude=*.log --exclude=deep sub /excluding/
COPY --parents ./sub/*/x ^
  ./pivot/./sub/y /parents/
COPY --chmod=u=rw,go=r --chown=7 text.gz /symbolic
COPY --link sub/deep /copied/
COPY ["with space", "also with", "/spaces/"]
RUN cd / && find tar gzip bzip2 xz zstd kept text linked web checked unpacked git gitdir excluding parents symbolic copied spaces ^
  -path '*.git/*' -o -type f -exec stat -c 'has %u:%g %a %n' {} + | sort
`

// Each way to add files, by a Dockerfile with another escape character.
func TestAddsAndCopiesOfAllKinds(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	url := repository(t, d)
	data, err := io.ReadAll(tarred(t, map[string]string{"in": "inner\n"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"", "gzip", "bzip2", "xz", "zstd"} {
		name := strings.TrimSuffix("a.tar."+program, ".")
		packed := string(compressed(t, program, data))
		d.Write("ctx/"+name, packed)
		d.Write("web/"+name, packed)
	}
	for _, name := range []string{"text.gz", "sub/a", "sub/b.log", "sub/deep/x", "pivot/sub/y", "with space", "also with"} {
		d.Write("ctx/"+name, "text\n")
	}
	dockerfile := strings.NewReplacer("^", "`", "@URL@", url, "@SUM@", fmt.Sprintf("%x", sha256.Sum256(data))).Replace(adds)
	d.Write("ctx/Dockerfile", dockerfile)
	r := d.Docker("build", "--progress", "plain", "ctx")
	want := `has 0:0 600 web/a.tar
has 0:0 644 copied/x
has 0:0 644 excluding/a
has 0:0 644 git/Dockerfile
has 0:0 644 git/here
has 0:0 644 gitdir/Dockerfile
has 0:0 644 kept/a.tar
has 0:0 644 parents/sub/deep/x
has 0:0 644 parents/sub/y
has 0:0 644 spaces/also with
has 0:0 644 spaces/with space
has 0:0 644 text/text.gz
has 1234:1234 644 bzip2/in
has 1234:1234 644 gzip/in
has 1234:1234 644 tar/in
has 1234:1234 644 unpacked/in
has 1234:1234 644 xz/in
has 1234:1234 644 zstd/in
has 3:4 640 checked
has 7:7 644 symbolic
has 8:9 644 linked/in`
	if got := strings.Join(lines(r.Stderr, "has"), "\n"); got != want {
		t.Errorf("the image\n%s\nwant\n%s\n%v", got, want, r)
	}
	for instruction, want := range map[string]string{
		"ADD --checksum=sha256:" + strings.Repeat("0", 64) + " " + url + "/a.tar /": "digest mismatch",
		"ADD " + url + "/none /":            "404",
		"ADD " + url + "/repo.git#none /":   "does not contain ref none",
		"COPY none /":                       `"/none": not found`,
		"COPY ../../../../../etc/passwd /":  `"/etc/passwd": not found`,
		"COPY --from=nowhere.invalid/x x /": "nowhere.invalid",
	} {
		d.Write("ctx/Dockerfile", "FROM "+image+"\n"+instruction+"\n")
		if r := d.FailDocker("build", "ctx"); !strings.Contains(r.Stderr, want) || !strings.Contains(r.Stderr, "Dockerfile:2") {
			t.Errorf("no %q, or no line, in %v", want, r)
		}
	}
	d.MustDocker("image", "prune", "-f")
}

const runs = `FROM ` + image + ` AS from
WORKDIR /dir/sub
FROM ` + image + `
RUN --mount=type=cache,target=/c,id=one,uid=5,gid=6,mode=0711 --mount=type=cache,target=/d,id=two,from=from,source=/dir,sharing=private \
    --mount=type=bind,from=from,source=/dir,target=/b --mount=from=from,source=/dir,target=/w,rw --mount=type=tmpfs,target=/t,size=1m \
    --mount=type=secret,id=s,target=/etc/s,mode=0440,uid=9 --mount=type=secret,id=s,env=SECRET --mount=type=secret,id=s --mount=type=secret,id=unknown <<EOT
set -e
stat -c 'is cache %u:%g %a' /c
touch /c/kept /w/x
echo is cached $(ls /d), bound $(ls /b), written $(ls /w), tmpfs $(df -k /t | awk 'END{print $2}')
! touch /b/x 2>/dev/null
stat -c 'is secret %u:%g %a' /etc/s
echo is ${#SECRET} $(wc -c < /run/secrets/s) $(ls /run/secrets)
echo is $(ulimit -n) and $(df -k /dev/shm | awk 'END{print $2}') and $http_proxy and $(grep -o 10.1.2.3 /etc/hosts)
echo is $(grep -o /GROUP/ /proc/self/cgroup | sort -u)
EOT
RUN --mount=type=cache,target=/c,id=one,uid=5,gid=6,mode=0711 --network=none echo is $(ls /c) $(ls /sys/class/net)
RUN --network=host --security=insecure mkdir /m && mount -t tmpfs none /m && echo is privileged in $(readlink /proc/self/ns/net)
RUN --security=sandbox ! mount -t tmpfs none /m 2>/dev/null && echo is not privileged
`

// Each option of RUN, and each flag that steps feel.
func TestStepsHaveWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	parent := filepath.Base(d.Dir) + "-steps"
	t.Cleanup(func() {
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + parent)
		for _, dir := range append(groups, "/sys/fs/cgroup/"+parent) {
			os.Remove(filepath.Join(dir, "buildkit"))
			os.Remove(dir)
		}
	})
	d.Write("ctx/Dockerfile", strings.ReplaceAll(runs, "GROUP", parent))
	d.Write("s", "secret")
	args := []string{"build", "--progress", "plain", "-t", "app", "--secret", "id=s,src=s", "--ulimit", "nofile=77:88", "--shm-size", "2m",
		"--add-host", "extra:10.1.2.3", "--build-arg", "http_proxy=http://10.0.0.9:1", "--cgroup-parent", "/" + parent, "ctx"}
	r := d.Docker(append(args, "--allow", "network.host", "--allow", "security.insecure")...)
	namespace, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	want := `is cache 5:6 711
is cached sub, bound sub, written sub x, tmpfs 1024
is secret 9:0 440
is 6 6 s
is 77 and 2048 and http://10.0.0.9:1 and 10.1.2.3
is /` + parent + `/
is kept lo
is privileged in ` + namespace + `
is not privileged`
	if got := strings.Join(lines(r.Stderr, "is "), "\n"); got != want {
		t.Errorf("steps found\n%s\nwant\n%s\n%v", got, want, r)
	}
	if history := d.MustDocker("history", "--no-trunc", "app"); strings.Contains(history, "10.0.0.9") {
		t.Errorf("the proxy is in the image's history:\n%s", history)
	}
	for want, allowed := range map[string]string{"--allow security.insecure": "network.host", "--allow network.host": "security.insecure", "unknown entitlement everything": "everything"} {
		if r := d.FailDocker(append(args, "--allow", allowed)...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	for instruction, want := range map[string]string{
		"RUN --mount=type=secret,id=none,required true":              "secret none: not found",
		"RUN --device=vendor.example/x=y,required true":              "CDI device",
		"RUN --mount=type=bind,from=" + image + ",target=/,x=1 true": "unexpected key 'x'",
		"RUN --network=other true":                                   "other",
	} {
		d.Write("ctx/Dockerfile", "FROM "+image+"\n"+instruction+"\n")
		if r := d.FailDocker("build", "ctx"); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "rm", "app")
	d.MustDocker("image", "prune", "-f")
}

const meta = `ARG TAG=test
FROM ` + "busybox:${TAG}" + ` AS base
MAINTAINER Somebody <someone@example.com>
HEALTHCHECK --interval=1s --timeout=2s --start-period=3s --start-interval=4s --retries=5 CMD ["a", "b"]
ONBUILD COPY file /
ONBUILD RUN cat /file
STOPSIGNAL 9
EXPOSE 1 2/udp 3-4
VOLUME ["/v", "/with space"]
SHELL ["/bin/sh", "-xc"]
ENV OLD style value
ARG VERSION=1.2.3 EMPTY=
ENV MAJOR=${VERSION%%.*} REST="${VERSION#*.}" NONE=${EMPTY:-default} SOME=${VERSION:+set} NAME=${VERSION/./-}
LABEL a="b c" "d e"=f long="one ` + "\\" + `
two"
WORKDIR /top
WORKDIR relative
USER 5:6
CMD shell $form
ENTRYPOINT ["exec", "form"]

FROM base AS child
HEALTHCHECK NONE
ENTRYPOINT exec line
`

// What an image says of itself, by instruction.
func TestImagesSayWhatTheirDockerfileSays(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("ctx/Dockerfile", meta)
	d.Write("ctx/file", "copied by the trigger\n")
	d.MustDocker("build", "-q", "--target", "base", "-t", "base", "ctx")
	said := func(name, format string) string {
		t.Helper()
		return strings.TrimSpace(d.MustDocker("image", "inspect", "--format", format, name))
	}
	for format, want := range map[string]string{
		"{{.Author}}":                                      "Somebody <someone@example.com>",
		"{{json .Config.Healthcheck}}":                     `{"Test":["CMD","a","b"],"Interval":1000000000,"Timeout":2000000000,"StartPeriod":3000000000,"StartInterval":4000000000,"Retries":5}`,
		"{{json .Config.OnBuild}}":                         `["COPY file /","RUN cat /file"]`,
		"{{.Config.StopSignal}}":                           "9",
		"{{json .Config.ExposedPorts}}":                    `{"1/tcp":{},"2/udp":{},"3/tcp":{},"4/tcp":{}}`,
		"{{json .Config.Volumes}}":                         `{"/v":{},"/with space":{}}`,
		"{{json .Config.Shell}}":                           `["/bin/sh","-xc"]`,
		"{{json .Config.Labels}}":                          `{"a":"b c","d e":"f","long":"one two"}`,
		"{{.Config.WorkingDir}} {{.Config.User}}":          "/top/relative 5:6",
		"{{json .Config.Cmd}} {{json .Config.Entrypoint}}": `["/bin/sh","-xc","shell $form"] ["exec","form"]`,
		"{{range .Config.Env}}{{println .}}{{end}}":        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nOLD=style value\nMAJOR=1\nREST=2.3\nNONE=default\nSOME=set\nNAME=1-2.3",
	} {
		if got := said("base", format); got != want {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
	d.MustDocker("build", "-q", "-t", "child", "ctx")
	if got, want := said("child", "{{json .Config.Healthcheck}} {{json .Config.Entrypoint}} {{json .Config.Cmd}} {{json .Config.OnBuild}}"), `{"Test":["NONE"]} ["/bin/sh","-xc","exec line"] null null`; got != want {
		t.Errorf("the child says %s, want %s", got, want)
	}
	if got := d.MustDocker("run", "--rm", "--entrypoint", "cat", "-u", "0", "child", "/file"); got != "copied by the trigger\n" {
		t.Errorf("the trigger has left %q", got)
	}
	for text, want := range map[string]string{
		"# check=error=true\nFROM " + image + "\nMAINTAINER x\n":   "lint violation found for rules: MaintainerDeprecated",
		"# escape=x\nFROM " + image + "\n":                         "invalid escape token 'x'",
		"FROM " + image + "\nONBUILD FROM x\n":                     "FROM isn't allowed as an ONBUILD trigger",
		"FROM " + image + "\nHEALTHCHECK --interval=0.1ms CMD x\n": "cannot be less than 1ms",
		"FROM " + image + "\nRUN <<EOT\nnever ended\n":             "unterminated heredoc",
		"RUN x\n": "no build stage in current context",
		"FROM " + image + "\nARG x\nENV y=${x:?must be given}\n": "must be given",
		"# syntax=127.0.0.1:1/none\nFROM " + image + "\n":        "127.0.0.1:1/none",
	} {
		if r := d.DockerInput(text, "build", "-"); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	if r := d.DockerInput("# check=skip=MaintainerDeprecated;error=true\nFROM "+image+"\nMAINTAINER x\n", "build", "-t", "skipped", "-"); r.Code != 0 {
		t.Errorf("a check that is skipped: %v", r)
	}
	d.MustDocker("image", "rm", "skipped", "child", "base")
	d.MustDocker("image", "prune", "-f")
}
