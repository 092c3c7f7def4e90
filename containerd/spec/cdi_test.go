package spec

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

const gpuSpec = `{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu",
  "containerEdits": {"env": ["ANY=1"]},
  "devices": [
    {"name": "0", "containerEdits": {"env": ["GPU0=1"], "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/null"}]}},
    {"name": "1", "containerEdits": {"env": ["GPU1=1"]}},
    {"name": "all", "containerEdits": {"env": ["GPUS=all"], "mounts": [{"hostPath": "/etc", "containerPath": "/driver", "options": ["ro", "bind"]}]}}
  ]}`

func cdiDir(t *testing.T, spec string) string {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "spec.json"), []byte(spec), 0o644))
	return dir
}

func TestDeviceRequests(t *testing.T) {
	dir := cdiDir(t, gpuSpec)
	gpu := [][]string{{"gpu"}}
	for name, c := range map[string]struct {
		ask  container.DeviceRequest
		envs []string // what the container gets, besides ANY
	}{
		"all":           {container.DeviceRequest{Count: -1, Capabilities: gpu}, []string{"GPUS=all"}},
		"one":           {container.DeviceRequest{Count: 1, Capabilities: gpu}, []string{"GPU0=1"}},
		"two, nvidia's": {container.DeviceRequest{Driver: "nvidia", Count: 2, Capabilities: [][]string{{"gpu", "compute"}}}, []string{"GPU0=1", "GPU1=1"}},
		"by name":       {container.DeviceRequest{DeviceIDs: []string{"1"}, Capabilities: gpu}, []string{"GPU1=1"}},
		"qualified":     {container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=1"}}, []string{"GPU1=1"}},
	} {
		in := testInput(t)
		in.CDIDirs = []string{dir}
		in.Host.DeviceRequests = []container.DeviceRequest{c.ask, c.ask} // what is asked for twice comes once
		s, err := Build(in)
		must(t, err)
		var got []string
		for _, e := range s.Process.Env {
			if strings.HasPrefix(e, "GPU") {
				got = append(got, e)
			}
		}
		if !slices.Equal(got, c.envs) || !slices.Contains(s.Process.Env, "ANY=1") {
			t.Errorf("%s: got %q of %q, want %q", name, got, s.Process.Env, c.envs)
		}
		if node := slices.ContainsFunc(c.envs, func(e string) bool { return e == "GPU0=1" }); node != (len(s.Linux.Devices) == 1 && s.Linux.Devices[0].Path == "/dev/gpu0") {
			t.Errorf("%s: device nodes %v", name, s.Linux.Devices)
		}
	}
}

func TestDeviceRequestsThatCannotBe(t *testing.T) {
	gpu := [][]string{{"gpu"}}
	for name, c := range map[string]struct {
		spec string
		ask  container.DeviceRequest
		says string
	}{
		"nothing asked for":  {gpuSpec, container.DeviceRequest{}, `could not select device driver "" with capabilities: []`},
		"no capability":      {gpuSpec, container.DeviceRequest{Count: -1, Capabilities: [][]string{{"tpu"}}}, "with capabilities: [[tpu]]"},
		"no driver":          {gpuSpec, container.DeviceRequest{Driver: "acme", Count: -1, Capabilities: gpu}, `device driver "acme"`},
		"no such kind":       {gpuSpec, container.DeviceRequest{Driver: "amd", Count: -1, Capabilities: gpu}, "amd.com/gpu; looked for CDI specifications in /"},
		"no specification":   {"", container.DeviceRequest{Count: -1, Capabilities: gpu}, "no devices of kind nvidia.com/gpu or amd.com/gpu"},
		"too many":           {gpuSpec, container.DeviceRequest{Count: 3, Capabilities: gpu}, "nvidia.com/gpu=2"},
		"far too many":       {gpuSpec, container.DeviceRequest{Count: 1 << 62, Capabilities: gpu}, "there are fewer"},
		"count and names":    {gpuSpec, container.DeviceRequest{Count: 1, DeviceIDs: []string{"0"}, Capabilities: gpu}, "both Count and DeviceIDs"},
		"options":            {gpuSpec, container.DeviceRequest{Count: 1, Capabilities: gpu, Options: map[string]string{"a": "b"}}, `"a"`},
		"unknown CDI device": {gpuSpec, container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"acme.com/card=0"}}, "unresolvable CDI devices acme.com/card=0; looked for"},
		"no CDI name":        {gpuSpec, container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"gpu0"}}, `"gpu0"`},
		"no CDI device":      {gpuSpec, container.DeviceRequest{Driver: "cdi"}, "names no device"},
		"CDI count":          {gpuSpec, container.DeviceRequest{Driver: "cdi", Count: 1}, "unexpected count"},
		"CDI options":        {gpuSpec, container.DeviceRequest{Driver: "cdi", Options: map[string]string{"a": "b"}}, "unexpected options"},
		"broken file":        {"{", container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"acme.com/card=0"}}, "spec.json"},
		"missing node": {strings.ReplaceAll(gpuSpec, "/dev/null", "/dev/nope"), container.DeviceRequest{Count: 1, Capabilities: gpu},
			"/dev/nope"},
	} {
		in := testInput(t)
		in.CDIDirs = []string{filepath.Join(t.TempDir(), "none")}
		if c.spec != "" {
			in.CDIDirs = append(in.CDIDirs, cdiDir(t, c.spec))
		}
		in.Host.DeviceRequests = []container.DeviceRequest{c.ask}
		if _, err := Build(in); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want an invalid argument that says %q", name, err, c.says)
		}
	}
	in := testInput(t)
	in.Host.DeviceRequests = []container.DeviceRequest{{Count: -1, Capabilities: gpu}}
	if _, err := Build(in); err == nil || !strings.Contains(err.Error(), "cdi-spec-dirs") {
		t.Errorf("without directories: %v", err)
	}
}
