package build_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"

	moby "github.com/moby/moby/client"
	"golang.org/x/sys/unix"
)

// web serves git repositories, and other files, below a directory. Those below
// /private/ ask for a token.
func web(t *testing.T, dir string) (url string) {
	t.Helper()
	repos, files := harness.Repositories(t, dir), http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path, ok := strings.CutPrefix(r.URL.Path, "/private"); ok {
			if _, token, _ := r.BasicAuth(); token != "sesame" {
				w.Header().Set("WWW-Authenticate", "Basic realm=private")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			r.URL.Path = path
		}
		if strings.Contains(r.URL.Path, ".git/") {
			repos.ServeHTTP(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// repository is served with the branches main and other, the latter with a
// directory to build in and a submodule.
func repository(t *testing.T, d *harness.Daemon) (url string) {
	t.Helper()
	served := filepath.Join(d.Dir, "web")
	url = web(t, served)
	const copies = "FROM " + image + "\nCOPY . /all\nRUN cd /all && find . -path '*.git/*' -o -print | sort | tr '\\n' ' '\n"
	d.Write("web/mod/inner", "of the submodule\n")
	d.Write("web/repo/Dockerfile", copies)
	for _, dir := range []string{"mod", "repo"} {
		harness.Git(t, filepath.Join(served, dir), "init", "-q")
		harness.Git(t, filepath.Join(served, dir), "add", ".")
		harness.Git(t, filepath.Join(served, dir), "commit", "-qm", "first")
	}
	repo := filepath.Join(served, "repo")
	harness.Git(t, served, "clone", "-q", "--bare", "mod", "mod.git")
	harness.Git(t, repo, "tag", "v1")
	harness.Git(t, repo, "switch", "-qc", "other")
	harness.Git(t, repo, "submodule", "--quiet", "add", url+"/mod.git", "mod")
	d.Write("web/repo/sub/dir/Dockerfile", "FROM "+image+"\nCOPY here /\nRUN cat /here\n")
	d.Write("web/repo/sub/dir/here", "in the directory\n")
	harness.Git(t, repo, "add", ".")
	harness.Git(t, repo, "commit", "-qm", "second")
	harness.Git(t, repo, "switch", "-q", "main")
	harness.Git(t, served, "clone", "-q", "--bare", "repo", "repo.git")
	return url
}

func TestContextsInGitRepositories(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	url := repository(t, d)
	d.Write("token", "sesame")
	for _, c := range []struct {
		context, want string
		args          []string
	}{
		{"/repo.git", " . ./Dockerfile \n", nil},
		{"/repo.git#v1", " . ./Dockerfile \n", []string{"--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=0"}},
		{"/repo.git", " . ./.git ./Dockerfile \n", []string{"--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1"}},
		{"/repo.git#other", " . ./.gitmodules ./Dockerfile ./mod ./mod/.git ./mod/inner ./sub ./sub/dir ./sub/dir/Dockerfile ./sub/dir/here \n", nil},
		{"/repo.git?branch=other&submodules=false", " ./mod ./sub ", nil},
		{"/repo.git#other:sub/dir", "in the directory", nil},
		{"/repo.git?ref=other&subdir=sub/dir", "in the directory", nil},
		{"/private/repo.git#other:sub/dir", "in the directory", []string{"--secret", "id=GIT_AUTH_TOKEN,src=token"}},
	} {
		r := d.Docker(append([]string{"build", "--progress", "plain", "--no-cache", "-t", "git", url + c.context}, c.args...)...)
		if r.Code != 0 || !strings.Contains(r.Stderr, c.want) {
			t.Errorf("%s %q: no %q in %v", c.context, c.args, c.want, r)
		}
	}
	for context, want := range map[string]string{
		"/repo.git#nowhere":       "repository does not contain ref nowhere",
		"/repo.git#main:no/where": "invalid subdir no/where",
		"/none.git":               "/none.git/' not found",
		"/private/repo.git":       "could not read Username",
		"/repo.git?bogus=1":       `unexpected query "bogus"`,
		"/repo.git#--upload-pack=touch " + d.Dir + "/made": "invalid git ref",
	} {
		if r := d.FailDocker("build", url+context); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	for context, want := range map[string]string{
		"git@127.0.0.1:x/y.git": "SSH_AUTH_SOCK", "ssh://git@127.0.0.1/x.git": "SSH_AUTH_SOCK",
		"file://" + d.Dir + "/web/repo": "not found", "http://nowhere.invalid/x.git": "Could not resolve host: nowhere.invalid",
	} {
		cmd := d.DockerCommand(d.Dir, "build", context)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK=")
		if r := d.Finish(cmd); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	if exists(d.Dir + "/made") {
		t.Error("a ref was taken for an option of git")
	}
	dir := d.Project("p", "services:\n  one:\n    image: one\n    build: "+url+"/repo.git#other:sub/dir\n  two:\n    image: two\n    build:\n      context: "+url+"/repo.git\n      additional_contexts:\n        from: "+url+"/repo.git#other:sub/dir\n      dockerfile_inline: |\n        FROM "+image+"\n        COPY --from=from here /\n")
	d.Must(dir, "build")
	for _, name := range []string{"one", "two"} {
		if got := d.MustDocker("run", "--rm", name, "cat", "/here"); got != "in the directory\n" {
			t.Errorf("image %q has %q", name, got)
		}
	}
	d.MustDocker("image", "rm", "one", "two", "git")
	d.MustDocker("image", "prune", "-f")
}

// A repository cannot make the host's own files, or programs, part of a build.
func TestGitRepositoriesReachNothingOfTheHost(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	served := filepath.Join(d.Dir, "web")
	url := web(t, served)
	secret := d.Write("secret/file", "of the host")
	harness.Git(t, filepath.Dir(secret), "init", "-q")
	harness.Git(t, filepath.Dir(secret), "add", ".")
	harness.Git(t, filepath.Dir(secret), "commit", "-qm", "x")
	d.Write("web/links/Dockerfile", "FROM "+image+"\nCOPY out deep/file /\nRUN cat /out /file\n")
	links := filepath.Join(served, "links")
	if err := errors.Join(os.Symlink(secret, filepath.Join(links, "out")), os.Symlink(filepath.Dir(secret), filepath.Join(links, "deep"))); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"files": "file://" + filepath.Dir(secret), "path": filepath.Dir(secret), "program": "ext::sh -c touch% " + d.Dir + "/made"} {
		d.Write("web/"+name+"/.gitmodules", "[submodule \"m\"]\n\tpath = m\n\turl = "+from+"\n")
		d.Write("web/"+name+"/Dockerfile", "FROM "+image+"\nCOPY m/file /\n")
	}
	for _, name := range []string{"links", "files", "path", "program"} {
		dir := filepath.Join(served, name)
		harness.Git(t, dir, "init", "-q")
		harness.Git(t, dir, "add", ".")
		if name != "links" {
			harness.Git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",m")
		}
		harness.Git(t, dir, "commit", "-qm", "x")
		harness.Git(t, served, "clone", "-q", "--bare", name, name+".git")
		if r := d.FailDocker("build", url+"/"+name+".git"); strings.Contains(r.Stderr, "of the host") {
			t.Errorf("%s: the host's file was read: %v", name, r)
		}
	}
	if exists(d.Dir + "/made") {
		t.Error("a repository has run a program on the host")
	}
	d.MustDocker("image", "prune", "-f")
}

// compressed is data after a program of that name.
func compressed(t *testing.T, program string, data []byte) []byte {
	t.Helper()
	if program == "" {
		return data
	}
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return out
}

// One archive builds to one image, however it is compressed and whichever way it
// comes. It begins with headers as Python and "git archive" write them.
func TestArchivesInEveryCompressionAndWay(t *testing.T) {
	t.Parallel()
	h := start(t)
	url := web(t, filepath.Join(h.Dir, "web"))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range map[string]string{"Dockerfile": "FROM " + image + "\nCOPY f /\nRUN cat /f\n", "f": "inside"} {
		head := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Format: tar.FormatPAX, PAXRecords: map[string]string{"TEST.long": strings.Repeat("x", 2000)}}
		if err := w.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
	}
	w.Close()
	var id string
	same := func(how, got string) {
		t.Helper()
		if id == "" {
			id = got
		}
		if got != id || !strings.HasPrefix(got, "sha256:") {
			t.Errorf("%s builds %q, another %q", how, got, id)
		}
	}
	for _, program := range []string{"", "gzip", "bzip2", "xz", "zstd"} {
		data := string(compressed(t, program, b.Bytes()))
		r := h.DockerInput(data, "build", "-q", "-")
		if r.Code != 0 {
			t.Errorf("%s on stdin: %v", program, r)
			continue
		}
		same(program+" on stdin", strings.TrimSpace(r.Stdout))
		for _, version := range []string{"1", "2"} {
			o := moby.ImageBuildOptions{}
			if version == "2" {
				o.Version = "2"
			}
			a, err := h.classic(strings.NewReader(data), o)
			if err != nil || a.fail != nil {
				t.Errorf("%s as the body, version %s: %v %v", program, version, err, a.fail)
				continue
			}
			same(program+" as the body", a.id)
		}
		if program == "" { // BuildKit looks at the first kilobyte of what it gets from the web
			continue
		}
		h.Write("web/context."+program, data)
		same(program+" from the web", strings.TrimSpace(h.MustDocker("build", "-q", url+"/context."+program)))
	}
	a, err := h.classic(nil, moby.ImageBuildOptions{RemoteContext: url + "/context.xz"})
	if err != nil || a.fail != nil {
		t.Errorf("%v %v", err, a.fail)
	}
	same("a remote context", a.id)

	h.Write("web/Alone", "FROM "+image+"\nRUN echo alone\n")
	if r := h.Docker("build", "--progress", "plain", "-t", "alone", url+"/Alone"); !strings.Contains(r.Stderr, "alone\n") {
		t.Errorf("of a Dockerfile from the web: %v", r)
	}
	same("a context that has a Dockerfile apart", strings.TrimSpace(h.MustDocker("build", "-q", "-f", h.Write("apart/Dockerfile", "FROM "+image+"\nCOPY f /\nRUN cat /f\n"), url+"/context.zstd")))
	if r := h.DockerInput("FROM "+image+"\nCOPY f /\nRUN cat /f\n", "build", "-q", "-f", "-", url+"/context.gzip"); r.Code != 0 {
		t.Errorf("a remote context and a Dockerfile on stdin: %v", r)
	} else {
		same("a Dockerfile on stdin", strings.TrimSpace(r.Stdout))
	}
	h.Write("dir/f", "x")
	if r := h.Docker("build", "--progress", "plain", "--no-cache", "-f", url+"/Alone", "dir"); r.Code != 0 || !strings.Contains(r.Stderr, "alone\n") {
		t.Errorf("a directory and a Dockerfile from the web: %v", r)
	}
	for want, args := range map[string][]string{`Get "` + url + `/nothing": the server answers 404 Not Found`: {url + "/nothing"}, `--file "` + url + `/nothing"`: {"-f", url + "/nothing", "dir"}} {
		if r := h.FailDocker(append([]string{"build"}, args...)...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	if r := h.DockerInput("FROM "+image, "build", "-f", "x", "-"); r.Code == 0 || !strings.Contains(r.Stderr, "ambiguous Dockerfile source") {
		t.Error(r)
	}
	h.MustDocker("image", "rm", "-f", "alone", id)
	h.MustDocker("image", "prune", "-f")
}

// What of a context is ignored: the Dockerfile's own list goes before the
// context's, "!" takes back; of archives the client has left it out already, but
// for the two files that it must send.
func TestIgnoredFilesAreNotInTheImage(t *testing.T) {
	t.Parallel()
	h := start(t)
	const list = "FROM " + image + "\nCOPY . /all\nRUN cd /all && echo has $(find . -type f | sort)\n"
	files := map[string]string{"Dockerfile": list, ".dockerignore": "# all but\n*\n!keep\nkeep/*.log\n!keep/b.log\n", "keep/a.log": "", "keep/b.log": "", "keep/c": "", "no": ""}
	for name, content := range files {
		h.Write("ctx/"+name, content)
	}
	h.Write("apart/Own", list)
	h.Write("apart/Own.dockerignore", "**/*.log\nDockerfile\n")
	for want, args := range map[string][]string{"has ./keep/b.log ./keep/c\n": {"ctx"}, "has ./.dockerignore ./keep/c ./no\n": {"-f", "apart/Own", "ctx"}} {
		r := h.Docker(append([]string{"build", "--no-cache", "--progress", "plain"}, args...)...)
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("%q: no %q in %v", args, want, r)
		}
	}
	a, err := h.classic(tarred(t, files), moby.ImageBuildOptions{NoCache: true})
	if want := "has ./keep/a.log ./keep/b.log ./keep/c ./no\n"; err != nil || !strings.Contains(a.text, want) {
		t.Errorf("POST /build: no %q in %q, %v %v", want, a.text, a.fail, err)
	}
	a, err = h.classic(tarred(t, map[string]string{"dockerfile": list, ".dockerignore": "nothing\n"}), moby.ImageBuildOptions{NoCache: true})
	if want := "has ./.dockerignore ./dockerfile\n"; err != nil || !strings.Contains(a.text, want) {
		t.Errorf("POST /build: no %q in %q, %v %v", want, a.text, a.fail, err)
	}
	if _, err := h.classic(tarred(t, map[string]string{"x": ""}), moby.ImageBuildOptions{Dockerfile: "nope"}); err == nil || !strings.Contains(err.Error(), "Cannot locate specified Dockerfile: nope") {
		t.Errorf("without a Dockerfile: %v", err)
	}
	h.MustDocker("image", "prune", "-f")
}

// Ctrl-C ends a build whatever it waits for: its stdin, of which nothing has
// come yet, or servers that never answer.
func TestCtrlCWhileABuildWaits(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan net.Conn, 10) // and never answered
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			asked <- conn
		}
	}()
	d.Write("adds/Dockerfile", "FROM "+image+"\nADD http://"+l.Addr().String()+"/file /\n")
	for _, context := range []string{"-", "http://" + l.Addr().String() + "/x.git", "http://" + l.Addr().String() + "/x.tar", "adds"} {
		cmd := d.DockerCommand(d.Dir, "build", context)
		in, to, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		defer to.Close()
		cmd.Stdin = in
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if context == "-" {
			io.WriteString(to, "#")
			harness.Eventually(t, "the build reads its stdin", func() error {
				if n, err := unix.IoctlGetInt(int(in.Fd()), unix.TIOCINQ); err != nil || n > 0 {
					return fmt.Errorf("%d bytes are left: %w", n, err)
				}
				return nil
			})
		} else {
			defer (<-asked).Close()
		}
		cmd.Process.Signal(os.Interrupt)
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("%s: exit code %d", context, code)
			}
		case <-time.After(patience):
			cmd.Process.Kill()
			t.Errorf("%s: a build that waits does not end", context)
		}
	}
}
