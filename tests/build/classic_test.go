package build_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	buildtypes "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/jsonstream"
	moby "github.com/moby/moby/client"
	"google.golang.org/protobuf/proto"
)

// tarred is an archive of files by name.
func tarred(t *testing.T, files map[string]string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name])), Uid: 1234, Gid: 1234}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, files[name])
	}
	w.Close()
	return &b
}

// answer is what POST /build said.
type answer struct {
	text  string // all lines for people
	id    string
	trace []*controlapi.StatusResponse
	fail  *jsonstream.Error
}

func (h *host) engine() *moby.Client {
	h.T.Helper()
	c, err := moby.New(moby.WithHost(h.Host))
	if err != nil {
		h.T.Fatal(err)
	}
	h.T.Cleanup(func() { c.Close() })
	return c
}

func (h *host) classic(context io.Reader, o moby.ImageBuildOptions) (a answer, err error) {
	h.T.Helper()
	o.Remove = true
	resp, err := h.engine().ImageBuild(h.ctx, context, o)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var m jsonstream.Message
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			return a, nil
		} else if err != nil {
			h.T.Fatal(err)
		}
		a.text += m.Stream
		if m.Error != nil {
			a.fail = m.Error
		}
		if m.Aux == nil {
			continue
		}
		if m.ID == "moby.buildkit.trace" {
			var data []byte
			var s controlapi.StatusResponse
			if err := errors.Join(json.Unmarshal(*m.Aux, &data), proto.Unmarshal(data, &s)); err != nil {
				h.T.Fatal(err)
			}
			a.trace = append(a.trace, &s)
			continue
		}
		var r buildtypes.Result
		if err := json.Unmarshal(*m.Aux, &r); err != nil {
			h.T.Fatal(err)
		}
		a.id = r.ID
	}
}

// What client libraries send and look for.
func TestClassicBuildAnswersAsTheClassicBuilder(t *testing.T) {
	t.Parallel()
	h := start(t)
	files := map[string]string{
		"sub/My.Dockerfile": "FROM " + image + " AS base\nARG who\nCOPY --chown=7:8 . /data/\nRUN echo hello $who && cat /proc/self/limits && grep extra /etc/hosts\nFROM base AS last\nENV last=1\n",
		"file":              "content",
	}
	who := "world"
	a, err := h.classic(tarred(t, files), moby.ImageBuildOptions{
		Tags: []string{"app", "reg.example/app:2"}, Dockerfile: "sub/My.Dockerfile", Target: "base", BuildArgs: map[string]*string{"who": &who, "unset": nil},
		Labels: map[string]string{"l": "v"}, ExtraHosts: []string{"extra:10.9.8.7"}, Memory: 200 << 20, CPUShares: 512, NetworkMode: "none",
	})
	if err != nil || a.fail != nil {
		t.Fatalf("%v %v\n%s", err, a.fail, h.Log())
	}
	for _, want := range []string{"Step 1/3 : FROM", "Step 3/3 : RUN echo hello world", "hello world\n", "10.9.8.7\textra", "Successfully built " + a.id[7:19] + "\n", "Successfully tagged app:latest\nSuccessfully tagged reg.example/app:2\n"} {
		if !strings.Contains(a.text, want) {
			t.Errorf("no %q in\n%s", want, a.text)
		}
	}
	if got := strings.TrimSpace(h.MustDocker("image", "inspect", "--format", "{{.Id}} {{.Config.Labels.l}}", "reg.example/app:2")); got != a.id+" v" {
		t.Errorf("the image is %q, the answer said %q", got, a.id)
	}
	if got := h.MustDocker("run", "--rm", "app", "stat", "-c", "%u:%g %n", "/data/file"); got != "7:8 /data/file\n" {
		t.Errorf("copied %q", got)
	}
	again, err := h.classic(tarred(t, files), moby.ImageBuildOptions{Dockerfile: "sub/My.Dockerfile", Target: "base", BuildArgs: map[string]*string{"who": &who}, NetworkMode: "none", ExtraHosts: []string{"extra:10.9.8.7"}, Memory: 200 << 20, CPUShares: 512, SuppressOutput: true})
	if err != nil || again.fail != nil || !strings.HasPrefix(again.text, "sha256:") || strings.Count(again.text, "\n") != 1 {
		t.Errorf("a quiet build says %q, %v, %v", again.text, again.fail, err)
	}
	h.MustDocker("image", "rm", "app", "reg.example/app:2", strings.TrimSpace(again.text))
}

func TestClassicBuildReadsArchivesOfAllKindsAndDockerfiles(t *testing.T) {
	t.Parallel()
	h := start(t)
	plain, _ := io.ReadAll(tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nCOPY f /f\nRUN cat /f", "f": "inside\n"}))
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	for name, body := range map[string][]byte{"tar": plain, "gzip": zipped.Bytes(), "Dockerfile": []byte("FROM " + image + "\nRUN echo inside\n")} {
		a, err := h.classic(bytes.NewReader(body), moby.ImageBuildOptions{NoCache: true})
		if err != nil || a.fail != nil || !strings.Contains(a.text, "inside\n") || a.id == "" {
			t.Errorf("%s: %v %v\n%s", name, err, a.fail, a.text)
			continue
		}
		h.MustDocker("image", "rm", "-f", a.id)
	}
}

func TestClassicBuildTellsWhatFailed(t *testing.T) {
	t.Parallel()
	h := start(t)
	a, err := h.classic(tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\n\nRUN echo before; exit 3\n"}), moby.ImageBuildOptions{})
	if err != nil || a.fail == nil || a.fail.Code != 3 || !strings.Contains(a.text, "before\n") ||
		a.fail.Message != "The command '/bin/sh -c echo before; exit 3' returned a non-zero code: 3 (Dockerfile:3: RUN echo before; exit 3)" {
		t.Errorf("%v %+v\n%s", err, a.fail, a.text)
	}
	for name, tc := range map[string]struct {
		dockerfile, want string
		o                moby.ImageBuildOptions
	}{
		"no such instruction": {"FROM " + image + "\nRUNN x\n", "Dockerfile:2", moby.ImageBuildOptions{}},
		"no such stage":       {"FROM " + image + "\n", "nowhere", moby.ImageBuildOptions{Target: "nowhere"}},
		"no such file":        {"FROM " + image + "\nCOPY nothing /\n", "nothing", moby.ImageBuildOptions{}},
		"squash":              {"FROM " + image + "\n", "squash", moby.ImageBuildOptions{Squash: true}},
		"a bad name":          {"FROM " + image + "\n", "invalid reference format", moby.ImageBuildOptions{Tags: []string{"UPPER"}}},
		"a network":           {"FROM " + image + "\n", "not supported in builds", moby.ImageBuildOptions{NetworkMode: "container:x"}},
		"no Dockerfile":       {"FROM " + image + "\n", "other", moby.ImageBuildOptions{Dockerfile: "other"}},
	} {
		a, err := h.classic(tarred(t, map[string]string{"Dockerfile": tc.dockerfile}), tc.o)
		if err == nil && a.fail != nil {
			err = a.fail
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Archives with names and links that lead out of them: nothing outside is read
// or written.
func TestHostileContextStaysInside(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret := h.Write("secret", "outside")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		tar.Header
		content string
	}{
		{tar.Header{Name: "Dockerfile", Typeflag: tar.TypeReg}, "FROM " + image + "\nCOPY . /all\nRUN cat /all/link /all/deep/etc/hostname /all/up/../secret 2>/dev/null; find /all\n"},
		{tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: secret}, ""},
		{tar.Header{Name: "deep", Typeflag: tar.TypeSymlink, Linkname: "/"}, ""},
		{tar.Header{Name: "deep/etc/written", Typeflag: tar.TypeReg}, "through a link"},
		{tar.Header{Name: "../../../../../../../../" + h.Dir + "/written", Typeflag: tar.TypeReg}, "upwards"},
		{tar.Header{Name: h.Dir + "/written", Typeflag: tar.TypeReg}, "absolute"},
		{tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "../../../../../../../.." + secret}, ""},
	} {
		f.Mode, f.Size = 0o644, int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, f.content)
	}
	w.Close()
	a, err := h.classic(&b, moby.ImageBuildOptions{Tags: []string{"hostile"}})
	if strings.Contains(a.text, "outside") {
		t.Errorf("the build has read a file of the host:\n%s", a.text)
	}
	if r := h.Docker("run", "--rm", "hostile", "cat", "/all/link", "/all/hard"); strings.Contains(r.Stdout, "outside") {
		t.Errorf("the image holds a file of the host")
	}
	h.Docker("image", "rm", "hostile")
	for _, path := range []string{h.Dir + "/written", "/etc/written"} {
		if exists(path) {
			t.Errorf("the build has written %s (%v, %v)", path, err, a.fail)
		}
	}
}
