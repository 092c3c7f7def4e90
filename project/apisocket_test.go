package project

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/mount"
)

// A service that asks for the daemon's socket gets it, and the user's
// credentials unless it has its own.
func TestAPISocket(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shop
services:
  all: {image: nginx, use_api_socket: true}
  own: {image: nginx, use_api_socket: true, environment: {DOCKER_CONFIG: /mine}}
  without: {image: nginx}
`)
	asked := 0
	opts := Options{APISocket: "/run/gantry/gantry.sock", RegistryConfig: func() ([]byte, error) { asked++; return []byte("{}"), nil }}
	p, warnings, err := tryLoad(dir, opts)
	if err != nil || len(warnings) > 0 || asked != 1 {
		t.Fatalf("%v %v, credentials were asked for %d times", err, warnings, asked)
	}
	socket := []mount.Mount{{Type: mount.TypeBind, Source: "/run/gantry/gantry.sock", Target: "/var/run/docker.sock", BindOptions: &mount.BindOptions{}}}
	for name, want := range map[string]struct {
		mounts []mount.Mount
		files  []File
		env    string
	}{
		"all":     {socket, []File{{Kind: "config", Name: "credentials for registries", Target: "/run/secrets/docker/config.json", Mode: 0o600, Content: Content("{}")}}, "DOCKER_CONFIG=/run/secrets/docker"},
		"own":     {socket, nil, "DOCKER_CONFIG=/mine"},
		"without": {nil, nil, ""},
	} {
		s, _ := p.Service(name)
		if diff := cmp.Diff(want.mounts, s.HostConfig.Mounts); diff != "" {
			t.Errorf("%s: mounts (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(want.files, s.Files); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", name, diff)
		}
		if want.env != "" && !slices.Contains(s.Config.Env, want.env) || want.env == "" && len(s.Config.Env) > 0 {
			t.Errorf("%s: environment %q", name, s.Config.Env)
		}
	}
	opts.RegistryConfig = func() ([]byte, error) { return nil, errors.New("no helper") }
	if _, _, err := tryLoad(dir, opts); err == nil || !strings.Contains(err.Error(), "compose.yaml:3:23: ") || !strings.Contains(err.Error(), "no helper") {
		t.Errorf("error %v", err)
	}
}
