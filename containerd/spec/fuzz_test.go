package spec

import (
	"encoding/json"
	"path/filepath"
	"testing"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/container"
)

// Whatever a client sends to create a container, and whatever an image says,
// ends in a specification or in an error.
func FuzzCreate(f *testing.F) {
	for _, seed := range []struct{ request, image string }{
		{`{"Image": "x", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}`, `{}`},
		{`{"Cmd": [""], "Entrypoint": [""], "Env": ["", "=", "A", "A=1=2"], "HostConfig": {"Ulimits": [null], "BlkioWeightDevice": [null], "BlkioDeviceReadBps": [null]}}`, `{"Env": [""], "Entrypoint": []}`},
		{`{"User": "-1:99999999999", "WorkingDir": "/../..", "HostConfig": {"NetworkMode": "none", "GroupAdd": ["", "-1"], "CgroupParent": "../../..", "OomScoreAdj": -1001}}`, `{"User": ":"}`},
		{`{"Cmd": ["x"], "HostConfig": {"NetworkMode": "none", "DeviceRequests": [{}, {"Driver": "cdi", "DeviceIDs": ["", "a/b=c"]}, {"Count": -1, "Capabilities": [null, ["gpu"]]}, {"Count": 9223372036854775807, "Capabilities": [["gpu"]]}]}}`, `{}`},
		{`{"Cmd": ["x"], "HostConfig": {"NetworkMode": "none", "Devices": [{}, {"PathOnHost": "/dev/null", "PathInContainer": "x", "CgroupPermissions": "rwmrwm"}], "DeviceCgroupRules": ["a *:* rwm", "c 99999999999999999999:1 r", ""]}}`, `{}`},
		{`{"Cmd": ["x"], "HostConfig": {"NetworkMode": "none", "SecurityOpt": ["", "=", ":", "seccomp={}", "seccomp=/dev/zero", "label", "systempaths=unconfined"], "Sysctls": {"": "", "net.": "x"}, "Annotations": {"": ""}}}`, `{}`},
		{`{"Cmd": ["x"], "Tty": true, "HostConfig": {"ConsoleSize": [18446744073709551615, 1], "Memory": -9223372036854775808, "MemorySwap": -1, "NanoCpus": -1, "CpusetCpus": ",,-", "CpusetMems": "4-2", "CpuQuota": -9, "PidsLimit": -9}}`, `{}`},
		{`{"Cmd": ["x"], "HostConfig": {"NetworkMode": "container:", "PidMode": "container:", "IpcMode": "container:x", "UTSMode": "host", "CgroupnsMode": "private", "ShmSize": 9223372036854775807, "Privileged": true, "Init": true}}`,
			`{"ExposedPorts": {"": {}, "99999/x": {}}, "Volumes": {"": {}}, "Healthcheck": {"Test": null}, "Labels": {"": ""}}`},
		{`{"Cmd": ["x"], "Healthcheck": {"Test": [""], "Interval": -1}, "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "none", "Ulimits": [{"Name": "nofile", "Soft": -2, "Hard": -1}], "Umask": 511, "MaskedPaths": ["", "x"], "ReadonlyPaths": [""]}}`, `{"ExposedPorts": {"81": {}}}`},
		{`{"Cmd": ["x"], "HostConfig": {"NetworkMode": "none", "SecurityOpt": ["seccomp=/dev/zero"]}}`, `{}`},
		{`{}`, `null`},
		{`{"HostConfig": null}`, `{"Cmd": ["x"]}`},
	} {
		f.Add([]byte(seed.request), []byte(seed.image))
	}
	f.Fuzz(func(t *testing.T, request, image []byte) {
		var req container.CreateRequest
		var img dockerspec.DockerOCIImageConfig
		if json.Unmarshal(request, &req) != nil || json.Unmarshal(image, &img) != nil || req.Config == nil {
			return
		}
		if req.HostConfig == nil {
			req.HostConfig = &container.HostConfig{}
		}
		for _, d := range req.HostConfig.Devices { // a directory may be as large as the host
			if d.PathOnHost != "" && filepath.Dir(d.PathOnHost) != "/dev" {
				return
			}
		}
		if err := Merge(req.Config, img); err != nil {
			return
		}
		in := testInput(t)
		in.Config, in.Host = *req.Config, *req.HostConfig
		in.InitPath, in.PidNS, in.IpcNS, in.Shm = "/init", "/pid", "/ipc", "/shm"
		if _, err := Check(in.Config, in.Host, in.Facts); err != nil {
			return
		}
		Complete(&in.Host, in.Facts)
		s, err := Build(in)
		if err != nil {
			return
		}
		if filepath.Dir(s.Linux.CgroupsPath) == "" || !filepath.IsAbs(s.Linux.CgroupsPath) || filepath.Clean(s.Linux.CgroupsPath) == "/" {
			t.Errorf("cgroup %q", s.Linux.CgroupsPath)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
	})
}
