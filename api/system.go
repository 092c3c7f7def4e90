package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/plugin"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// host tells of the daemon's machine.
type host interface {
	Info(ctx context.Context) (system.Info, error)
	Components() []engine.Component
}

type systemRoutes struct {
	host
	program string // the version of it
}

func (s systemRoutes) routes() []route {
	return []route{
		{"GET /_ping", s.ping},
		{"GET /version", s.version},
		{"GET /info", s.info},
		{"GET /plugins", s.plugins},
		{"GET /plugins/{name...}", s.plugin},
	}
}

func (s systemRoutes) ping(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Swarm", "inactive")
	h.Set("Builder-Version", string(build.BuilderBuildKit)) // the one builder there is
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		return nil
	}
	_, err := io.WriteString(w, "OK")
	return err
}

func (s systemRoutes) version(w http.ResponseWriter, r *http.Request) error {
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Gantry"}, Version: s.program,
		APIVersion: offered(r).String(), MinAPIVersion: oldest.String(), Os: runtime.GOOS, Arch: runtime.GOARCH,
		GoVersion: runtime.Version(), KernelVersion: kernel(),
	}
	v.Components = []system.ComponentVersion{{Name: "Engine", Version: v.Version, Details: map[string]string{
		"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
		"GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion, "Experimental": "false",
	}}}
	for _, c := range s.Components() {
		v.Components = append(v.Components, system.ComponentVersion{Name: c.Name, Version: c.Version, Details: map[string]string{"GitCommit": c.Commit}})
	}
	return writeJSON(w, http.StatusOK, v)
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

func (s systemRoutes) info(w http.ResponseWriter, r *http.Request) error {
	got, err := s.Info(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

// plugins there are none. Clients that look for an object of any kind ask for
// one of these too, and go by the answer.
func (s systemRoutes) plugins(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, []plugin.Plugin{})
}

func (s systemRoutes) plugin(w http.ResponseWriter, r *http.Request) error {
	name, ok := strings.CutSuffix(r.PathValue("name"), "/json")
	if !ok {
		return notFound(w, r)
	}
	return fmt.Errorf("plugin %q not found: %w", name, errdefs.ErrNotFound)
}
