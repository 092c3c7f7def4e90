package docker_test

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/system"
)

func TestInfoTellsTheTruth(t *testing.T) {
	t.Parallel()
	d := start(t, `"insecure-registries": ["registry.example:5000", "10.0.0.0/8"]`, `"registry-mirrors": ["https://mirror.example"]`)
	info := func() (i system.Info) {
		t.Helper()
		if err := json.Unmarshal([]byte(d.MustDocker("info", "--format", "json")), &i); err != nil {
			t.Fatal(err)
		}
		return i
	}
	d.MustDocker("run", "-d", "--name", "runs", "--init", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "paused", "--init", image, "sleep", "1000")
	d.MustDocker("pause", "paused")
	d.MustDocker("create", image)
	i := info()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if i.Containers != 3 || i.ContainersRunning != 1 || i.ContainersPaused != 1 || i.ContainersStopped != 1 || i.Images != 1 {
		t.Errorf("counts: %d containers, %d running, %d paused, %d stopped, %d images", i.Containers, i.ContainersRunning, i.ContainersPaused, i.ContainersStopped, i.Images)
	}
	if i.Name != host || i.KernelVersion != strings.TrimSpace(string(release)) || i.NCPU != runtime.NumCPU() || i.MemTotal == 0 || i.OSType != "linux" || i.DockerRootDir != d.Data() {
		t.Errorf("the host: %+v", i)
	}
	if i.Driver != "overlayfs" || i.LoggingDriver != "json-file" || i.DefaultRuntime != "runc" || i.RuncCommit.ID == "" || i.ContainerdCommit.ID == "" || i.Swarm.LocalNodeState != "inactive" || len(i.DefaultAddressPools) != 1 {
		t.Errorf("the daemon: %+v", i)
	}
	r := i.RegistryConfig
	if r == nil || len(r.InsecureRegistryCIDRs) != 3 || r.IndexConfigs["registry.example:5000"] == nil || r.IndexConfigs["registry.example:5000"].Secure || len(r.Mirrors) != 1 {
		t.Errorf("registries: %+v", r)
	}
	d.Stop()
	d.Launch()
	if again := info(); again.ID != i.ID || i.ID == "" || again.ContainersRunning != 1 {
		t.Errorf("a daemon that was restarted is %q, before %q, with %d running", again.ID, i.ID, again.ContainersRunning)
	}
}
