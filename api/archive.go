package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"gantry/engine"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
)

// fileStore reads and writes containers' file systems.
type fileStore interface {
	StatPath(ctx context.Context, ref, path string) (container.PathStat, error)
	ReadArchive(ctx context.Context, ref, path string, w io.Writer, begin func(container.PathStat) error) error
	WriteArchive(ctx context.Context, ref, path string, r io.Reader, opts engine.WriteArchiveOptions) error
	ExportContainer(ctx context.Context, ref string, w io.Writer) error
	ContainerChanges(ctx context.Context, ref string) ([]container.FilesystemChange, error)
}

type archiveRoutes struct{ fileStore }

func (a archiveRoutes) routes() []route {
	return []route{
		{"HEAD /containers/{id}/archive", a.stat},
		{"GET /containers/{id}/archive", a.read},
		{"PUT /containers/{id}/archive", a.write},
		{"GET /containers/{id}/export", a.export},
		{"GET /containers/{id}/changes", a.changes},
	}
}

// pathStatHeader holds a container.PathStat as base64 of JSON.
const pathStatHeader = "X-Docker-Container-Path-Stat"

func setPathStat(w http.ResponseWriter, st container.PathStat) error {
	b, err := json.Marshal(st)
	if err == nil {
		w.Header().Set(pathStatHeader, base64.StdEncoding.EncodeToString(b))
	}
	return err
}

func archivePath(r *http.Request) (string, error) {
	path := r.URL.Query().Get("path")
	if path == "" {
		return "", badRequest("missing parameter: path")
	}
	return path, nil
}

func (a archiveRoutes) stat(w http.ResponseWriter, r *http.Request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	st, err := a.StatPath(r.Context(), r.PathValue("id"), path)
	if err != nil {
		return err
	}
	return setPathStat(w, st)
}

func (a archiveRoutes) read(w http.ResponseWriter, r *http.Request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	return sendFile(w, r, func(ctx context.Context, out io.Writer) error {
		return a.ReadArchive(ctx, r.PathValue("id"), path, out, func(st container.PathStat) error {
			w.Header().Set("Content-Type", "application/x-tar")
			return setPathStat(w, st)
		})
	})
}

func (a archiveRoutes) export(w http.ResponseWriter, r *http.Request) error {
	return sendFile(w, r, func(ctx context.Context, out io.Writer) error {
		return a.ExportContainer(ctx, r.PathValue("id"), typed{out, w.Header()})
	})
}

// typed says with the first byte that an archive comes.
type typed struct {
	io.Writer
	header http.Header
}

func (t typed) Write(p []byte) (int, error) {
	t.header.Set("Content-Type", "application/x-tar")
	return t.Writer.Write(p)
}

func (a archiveRoutes) write(w http.ResponseWriter, r *http.Request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	defer giveUp(ctx, http.NewResponseController(w).SetReadDeadline)()
	err = a.WriteArchive(ctx, r.PathValue("id"), path, r.Body, engine.WriteArchiveOptions{
		NoOverwriteDirNonDir: flag(r, "noOverwriteDirNonDir"), CopyUIDGID: flag(r, "copyUIDGID"),
	})
	if err != nil {
		return err
	}
	io.Copy(io.Discard, r.Body) // what stands behind an archive's end
	return nil
}

func (a archiveRoutes) changes(w http.ResponseWriter, r *http.Request) error {
	got, err := a.ContainerChanges(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, list(got))
}

// sendFile is a response that send writes. One that breaks off must not look
// as if it were complete: the connection breaks, too.
func sendFile(w http.ResponseWriter, r *http.Request, send func(ctx context.Context, w io.Writer) error) error {
	ctx, cancel := streaming(r)
	defer cancel()
	defer giveUp(ctx, http.NewResponseController(w).SetWriteDeadline)()
	out := &counter{Writer: w}
	err := send(ctx, out)
	if err != nil && out.n > 0 {
		log.G(r.Context()).WithError(err).Debugf("%s %s: broken off", r.Method, r.URL.Path)
		panic(http.ErrAbortHandler)
	}
	return err
}

type counter struct {
	io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n += int64(len(p))
	return n, err
}

// giveUp ends reads from or writes to a client that does neither as soon as
// ctx ends, until the function that it returns is called.
func giveUp(ctx context.Context, setDeadline func(time.Time) error) (stop func() bool) {
	return context.AfterFunc(ctx, func() { setDeadline(time.Unix(1, 0)) })
}
