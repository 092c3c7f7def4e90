package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
	moby "github.com/moby/moby/client"
)

// library plays the images and where they come from.
type library struct {
	refuser
	pull   func(ctx context.Context, ref, platform string, auth engine.Auth, progress func(engine.Progress)) error
	load   func(archive io.Reader, progress func(engine.Progress)) ([]engine.LoadedImage, error)
	save   func(to io.Writer) error
	commit func(ref string, o engine.CommitOptions)
	asked  *[]string
}

func (l library) PullImage(ctx context.Context, ref, platform string, auth engine.Auth, progress func(engine.Progress)) error {
	return l.pull(ctx, ref, platform, auth, progress)
}
func (l library) LoadImages(_ context.Context, archive io.Reader, platforms []string, progress func(engine.Progress)) ([]engine.LoadedImage, error) {
	return l.load(archive, progress)
}
func (l library) SaveImages(_ context.Context, refs, platforms []string) (func(io.Writer) error, error) {
	*l.asked = append(*l.asked, fmt.Sprintf("save %s %s", refs, platforms))
	return l.save, nil
}
func (l library) ImageHistory(_ context.Context, ref, platform string) ([]image.HistoryResponseItem, error) {
	*l.asked = append(*l.asked, "history "+ref+platform)
	return nil, nil
}
func (l library) RepositoryTags(_ context.Context, repository string, _ engine.Auth) ([]string, error) {
	return []string{repository + ":1", repository + ":2"}, nil
}
func (l library) CommitContainer(_ context.Context, ref string, o engine.CommitOptions) (string, error) {
	l.commit(ref, o)
	return "sha256:1", nil
}
func (l library) InspectImage(_ context.Context, ref string, _ engine.ImageInspectOptions) (image.InspectResponse, error) {
	*l.asked = append(*l.asked, "inspect "+ref)
	return image.InspectResponse{ID: "sha256:2"}, nil
}
func (l library) TagImage(_ context.Context, ref, target string) error {
	*l.asked = append(*l.asked, "tag "+ref+" "+target)
	return nil
}
func (l library) RemoveImage(_ context.Context, ref string, o engine.ImageRemoveOptions) ([]image.DeleteResponse, error) {
	*l.asked = append(*l.asked, fmt.Sprintf("remove %s %v", ref, o.Force))
	return []image.DeleteResponse{{Untagged: ref}}, nil
}

func serveLibrary(t *testing.T, l library) *served {
	if l.asked == nil {
		l.asked = &[]string{}
	}
	b := refusing()
	b.images, b.imageSource, b.archives = l, l, l
	return serveBackends(t, b)
}

// Names hold slashes, ports and digests, and come through whole.
func TestImageNames(t *testing.T) {
	var asked []string
	c := serveLibrary(t, library{asked: &asked}).client(t)
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, name := range []string{"busybox", "registry.example:5000/a/b/c:1.0", "a/json", "a/b@" + digest, digest, "tag/history"} {
		asked = nil
		if _, err := c.ImageInspect(testContext(t), name); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ImageTag(testContext(t), moby.ImageTagOptions{Source: name, Target: "registry.example:5000/x/y:2"}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ImageRemove(testContext(t), name, moby.ImageRemoveOptions{Force: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ImageHistory(testContext(t), name); err != nil {
			t.Fatal(err)
		}
		want := []string{"inspect " + name, "tag " + name + " registry.example:5000/x/y:2", "remove " + name + " true", "history " + name}
		if !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
	}
}

func TestPullReference(t *testing.T) {
	const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, c := range []struct{ from, tag, want string }{
		{"busybox", "1", "docker.io/library/busybox:1"},
		{"docker.io/library/busybox", "latest", "docker.io/library/busybox:latest"},
		{"busybox:1", "", "docker.io/library/busybox:1"},
		{"busybox", digest, "docker.io/library/busybox@" + digest},
		{"localhost:5000/a", "2", "localhost:5000/a:2"},
		{"busybox", "", "docker.io/library/busybox"}, // all tags
		{"busybox@" + digest, "latest", "docker.io/library/busybox@" + digest},
	} {
		got, err := pullReference(c.from, c.tag)
		if err != nil || got.String() != c.want {
			t.Errorf("%q with tag %q is %v, %v, want %s", c.from, c.tag, got, err, c.want)
		}
	}
	for from, is := range map[string]func(error) bool{"": errdefs.IsInvalidArgument, "UPPER": errdefs.IsInvalidArgument} {
		if got, err := pullReference(from, ""); !is(err) {
			t.Errorf("%q is %v, %v", from, got, err)
		}
	}
}

func TestPullTellsHowFarItIs(t *testing.T) {
	var ref, platform string
	var auth engine.Auth
	reported, read := make(chan struct{}), make(chan struct{})
	s := serveLibrary(t, library{pull: func(_ context.Context, r, p string, a engine.Auth, progress func(engine.Progress)) error {
		ref, platform, auth = r, p, a
		progress(engine.Progress{ID: "layer", Status: "Downloading", Current: 5, Total: 10})
		close(reported)
		<-read // the client has the first messages while the pull goes on
		progress(engine.Progress{ID: "layer", Status: "Pull complete"})
		return nil
	}})
	login, err := json.Marshal(registry.AuthConfig{Username: "u", Password: "p?>"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.client(t).ImagePull(testContext(t), "localhost:5000/a:2", moby.ImagePullOptions{RegistryAuth: base64.URLEncoding.EncodeToString(login)})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	await(t, reported, "the pull begins")
	var lines []string
	for m, err := range got.JSONMessages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		line := m.ID + ": " + m.Status
		if m.Progress != nil {
			line += fmt.Sprintf(" %d/%d", m.Progress.Current, m.Progress.Total)
		}
		if lines = append(lines, line); len(lines) == 2 {
			close(read)
		}
	}
	want := []string{"2: Pulling from a", "layer: Downloading 5/10", "layer: Pull complete 0/0", ": Status: Image is up to date for localhost:5000/a:2"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	if ref != "localhost:5000/a:2" || platform != "" || auth != (engine.Auth{Username: "u", Password: "p?>"}) {
		t.Errorf("asked for %q, %q, %+v", ref, platform, auth)
	}
}

// A failure before there is anything to tell has a status; a later one ends the
// stream.
func TestPullFails(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := serveLibrary(t, library{pull: func(_ context.Context, _, _ string, _ engine.Auth, progress func(engine.Progress)) error {
			if late {
				progress(engine.Progress{ID: "layer", Status: "Downloading"})
			}
			return fmt.Errorf("image %q: %w", "a", errdefs.ErrNotFound)
		}})
		got, err := s.client(t).ImagePull(testContext(t), "a", moby.ImagePullOptions{})
		if !late {
			if !errdefs.IsNotFound(err) {
				t.Errorf("got %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer got.Close()
		var detail *jsonstream.Error
		if err := got.Wait(testContext(t)); !errors.As(err, &detail) || detail.Code != 404 || detail.Message != `image "a"` {
			t.Errorf("got %v", err)
		}
	}
}

// A client that leaves ends its pull.
func TestPullEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{})
	s := serveLibrary(t, library{pull: func(ctx context.Context, _, _ string, _ engine.Auth, progress func(engine.Progress)) error {
		progress(engine.Progress{ID: "layer", Status: "Downloading"})
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	got, err := s.client(t).ImagePull(testContext(t), "a", moby.ImagePullOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.Close()
	await(t, ended, "the pull ends")
}

func TestRegistryAuthThatCannotBeRead(t *testing.T) {
	for _, header := range []string{"%%%", base64.URLEncoding.EncodeToString([]byte("no json"))} {
		if _, err := registryAuth(header); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", header, err)
		}
	}
	combined := base64.URLEncoding.EncodeToString([]byte(`{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:p:q")) + `"}`))
	if got, err := registryAuth(combined); err != nil || got != (engine.Auth{Username: "u", Password: "p:q"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// An archive is read as it comes and never kept: while the client holds back
// the rest, the beginning has been read and the client knows it.
func TestLoadStreams(t *testing.T) {
	s := serveLibrary(t, library{load: func(archive io.Reader, progress func(engine.Progress)) ([]engine.LoadedImage, error) {
		first := make([]byte, 5)
		if _, err := io.ReadFull(archive, first); err != nil {
			return nil, err
		}
		progress(engine.Progress{Status: "read " + string(first)})
		rest, err := io.ReadAll(archive)
		progress(engine.Progress{Status: fmt.Sprintf("read %d more", len(rest))})
		return []engine.LoadedImage{{Name: "a:1"}, {ID: "sha256:2"}}, err
	}})
	archive, feed := io.Pipe()
	go io.WriteString(feed, "first")
	got, err := s.client(t).ImageLoad(testContext(t), archive)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	dec := json.NewDecoder(got)
	var m jsonstream.Message
	if err := dec.Decode(&m); err != nil || m.Status != "read first" {
		t.Fatalf("got %+v, %v", m, err)
	}
	go func() { io.CopyN(feed, endless{}, 1<<20); feed.Close() }()
	var rest []string
	for {
		var m jsonstream.Message
		if err := dec.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, m.Status+m.Stream)
	}
	if want := []string{"read 1048576 more", "Loaded image: a:1\n", "Loaded image ID: sha256:2\n"}; !slices.Equal(rest, want) {
		t.Errorf("got %q, want %q", rest, want)
	}
}

// An archive need not be read to its end.
func TestLoadStopsEarly(t *testing.T) {
	for _, fails := range []bool{false, true} {
		s := serveLibrary(t, library{load: func(archive io.Reader, progress func(engine.Progress)) ([]engine.LoadedImage, error) {
			progress(engine.Progress{Status: "begun"})
			if fails {
				return nil, errors.New("not an archive")
			}
			return []engine.LoadedImage{{Name: "a:1"}}, nil
		}})
		c := s.client(t)
		for range 3 {
			got, err := c.ImageLoad(testContext(t), io.LimitReader(endless{}, 100_000))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(got)
			if want := map[bool]string{false: "Loaded image: a:1", true: "not an archive"}[fails]; err != nil || !strings.Contains(string(b), want) {
				t.Errorf("got %q, %v", b, err)
			}
			got.Close()
			if _, err := c.Ping(testContext(t), moby.PingOptions{}); err != nil {
				t.Errorf("then: %v", err)
			}
		}
	}
}

func TestCommit(t *testing.T) {
	var ref string
	var got engine.CommitOptions
	c := serveLibrary(t, library{commit: func(r string, o engine.CommitOptions) { ref, got = r, o }}).client(t)
	id, err := c.ContainerCommit(testContext(t), "x", moby.ContainerCommitOptions{Reference: "a/b:1", Comment: "c", Author: "d",
		Changes: []string{"ENV A=1", "CMD x"}, NoPause: true, Config: &container.Config{User: "u"}})
	if err != nil || id.ID != "sha256:1" {
		t.Fatalf("got %v, %v", id, err)
	}
	if ref != "x" || got.Reference != "docker.io/a/b:1" || got.Comment != "c" || got.Author != "d" || !slices.Equal(got.Changes, []string{"ENV A=1", "CMD x"}) || got.Pause || got.Config == nil || got.Config.User != "u" {
		t.Errorf("asked for %q, %+v", ref, got)
	}
	if _, err := c.ContainerCommit(testContext(t), "x", moby.ContainerCommitOptions{}); err != nil || got.Config != nil || !got.Pause || got.Reference != "" {
		t.Errorf("asked for %+v, %v", got, err)
	}
}
