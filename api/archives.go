package api

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"gantry/engine"

	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/jsonstream"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func (i imageRoutes) load(w http.ResponseWriter, r *http.Request) error {
	only, err := platformsOf(r, "platform")
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	if err := whileReading(w); err != nil {
		return err
	}
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	progress := out.progress
	if flag(r, "quiet") {
		progress = func(engine.Progress) {}
	}
	loaded, err := i.LoadImages(ctx, r.Body, only, progress)
	for _, l := range loaded {
		line := "Loaded image: " + l.Name
		if l.Name == "" {
			line = "Loaded image ID: " + l.ID
		}
		out.put(jsonstream.Message{Stream: line + "\n"})
	}
	if err != nil {
		return out.fail(err)
	}
	io.Copy(io.Discard, r.Body) // what stands behind an archive's end
	return nil
}

func (i imageRoutes) importArchive(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	o := engine.ImportOptions{Source: q.Get("fromSrc"), Reference: q.Get("repo"), Message: q.Get("message"), Platform: q.Get("platform"), Changes: q["changes"]}
	if tag := q.Get("tag"); o.Reference != "" && tag != "" {
		o.Reference += ":" + tag
	}
	ctx, cancel := streaming(r)
	defer cancel()
	if err := whileReading(w); err != nil {
		return err
	}
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	id, err := i.ImportImage(ctx, r.Body, o, out.progress)
	if err != nil {
		return out.fail(err)
	}
	if o.Source == "-" {
		io.Copy(io.Discard, r.Body)
	}
	out.put(jsonstream.Message{Status: id})
	return nil
}

// whileReading lets progress go out while the archive comes in. A connection
// that was used so cannot serve another request unless all of the body was read.
func whileReading(w http.ResponseWriter) error {
	w.Header().Set("Connection", "close")
	return http.NewResponseController(w).EnableFullDuplex()
}

func (i imageRoutes) saveOne(w http.ResponseWriter, r *http.Request, name string) error {
	return i.save(w, r, []string{name})
}

func (i imageRoutes) saveSeveral(w http.ResponseWriter, r *http.Request) error {
	names := r.URL.Query()["names"]
	if len(names) == 0 {
		return badRequest("parameter \"names\": name the images to save")
	}
	return i.save(w, r, names)
}

func (i imageRoutes) save(w http.ResponseWriter, r *http.Request, names []string) error {
	only, err := platformsOf(r, "platform")
	if err != nil {
		return err
	}
	return sendFile(w, r, func(ctx context.Context, out io.Writer) error {
		write, err := i.SaveImages(ctx, names, only)
		if err != nil {
			return err
		}
		return write(typed{out, w.Header()})
	})
}

// platformOf is platformsOf, where one can be given.
func platformOf(r *http.Request, name string) (string, error) {
	list, err := platformsOf(r, name)
	if err != nil || len(list) == 0 {
		return "", err
	}
	if len(list) > 1 {
		return "", badRequest("parameter %q: give one platform, not %d", name, len(list))
	}
	return list[0], nil
}

// platformsOf reads platforms, JSON as the OCI image specification has it, in
// the form os/architecture/variant.
func platformsOf(r *http.Request, name string) (out []string, err error) {
	for _, value := range r.URL.Query()[name] {
		if value == "" {
			continue
		}
		var p ocispec.Platform
		if err := json.Unmarshal([]byte(value), &p); err != nil {
			return nil, badRequest("parameter %q: %q is no platform: %w", name, value, err)
		}
		if p.OS == "" || p.Architecture == "" {
			return nil, badRequest("parameter %q: both OS and Architecture must be provided", name)
		}
		out = append(out, platforms.Format(p))
	}
	return out, nil
}
