package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"gantry/engine"

	"github.com/moby/moby/api/types/container"
)

func (r refuser) StatPath(context.Context, string, string) (container.PathStat, error) {
	return container.PathStat{}, r.err
}
func (r refuser) ReadArchive(context.Context, string, string, io.Writer, func(container.PathStat) error) error {
	return r.err
}
func (r refuser) WriteArchive(context.Context, string, string, io.Reader, engine.WriteArchiveOptions) error {
	return r.err
}
func (r refuser) ExportContainer(context.Context, string, io.Writer) error { return r.err }
func (r refuser) ContainerChanges(context.Context, string) ([]container.FilesystemChange, error) {
	return nil, r.err
}

// brokenFiles break off after the first byte.
type brokenFiles struct{ refuser }

func (brokenFiles) StatPath(_ context.Context, ref, path string) (container.PathStat, error) {
	return container.PathStat{Name: ref + path, Mode: os.ModeSymlink, LinkTarget: "/t"}, nil
}

func (b brokenFiles) ReadArchive(_ context.Context, ref, path string, w io.Writer, begin func(container.PathStat) error) error {
	return errors.Join(begin(container.PathStat{Name: ref + path}), b.ExportContainer(nil, ref, w))
}

func (brokenFiles) ExportContainer(_ context.Context, _ string, w io.Writer) error {
	_, err := io.WriteString(w, strings.Repeat("x", 64<<10))
	return errors.Join(err, errors.New("it broke"))
}

func serveFiles(t *testing.T, f fileStore) *httptest.Server {
	t.Helper()
	b := refusing()
	b.files = f
	s := httptest.NewServer(newHandler(b, ""))
	t.Cleanup(s.Close)
	return s
}

func TestPathStatIsAHeader(t *testing.T) {
	s := serveFiles(t, brokenFiles{})
	resp, err := http.Head(s.URL + "/containers/c/archive?path=/a%20b")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	b, err := base64.StdEncoding.DecodeString(resp.Header.Get(pathStatHeader))
	if err != nil {
		t.Fatal(err)
	}
	var st container.PathStat
	if err := json.Unmarshal(b, &st); err != nil || st.Name != "c/a b" || st.LinkTarget != "/t" || st.Mode != os.ModeSymlink || resp.StatusCode != http.StatusOK {
		t.Errorf("%v %+v %v", resp.Status, st, err)
	}
	if resp, err := http.Head(s.URL + "/containers/c/archive"); err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without a path: %v %v", resp, err)
	}
}

// A client must not take what is cut off for a whole archive.
func TestArchiveThatBreaksOffBreaksTheConnection(t *testing.T) {
	s := serveFiles(t, brokenFiles{})
	for _, path := range []string{"/containers/c/archive?path=/x", "/containers/c/export"} {
		resp, err := http.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || got != "application/x-tar" {
			t.Errorf("%s: %s %q", path, resp.Status, got)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("%s ended as if it were complete", path)
		}
		resp.Body.Close()
	}
}
