package api

import (
	"context"
	"io"
	"net/http"
	"runtime"

	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// host tells of the daemon's machine.
type host interface {
	Info(ctx context.Context) (system.Info, error)
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
	}
}

func (s systemRoutes) ping(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "no-cache, no-store, must-revalidate")
	h.Set("Pragma", "no-cache")
	h.Set("Swarm", "inactive")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodHead {
		h.Set("Content-Length", "0")
		return nil
	}
	_, err := io.WriteString(w, "OK")
	return err
}

func (s systemRoutes) version(w http.ResponseWriter, _ *http.Request) error {
	v := system.VersionResponse{
		Platform: system.PlatformInfo{Name: "Gantry"}, Version: s.program,
		APIVersion: newest.String(), MinAPIVersion: oldest.String(), Os: runtime.GOOS, Arch: runtime.GOARCH,
		GoVersion: runtime.Version(), KernelVersion: kernel(),
	}
	v.Components = []system.ComponentVersion{{Name: "Engine", Version: v.Version, Details: map[string]string{
		"ApiVersion": v.APIVersion, "MinAPIVersion": v.MinAPIVersion, "Os": v.Os, "Arch": v.Arch,
		"GoVersion": v.GoVersion, "KernelVersion": v.KernelVersion, "Experimental": "false",
	}}}
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
