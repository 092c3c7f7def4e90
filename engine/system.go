package engine

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"gantry/volumes"

	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/api/types/system"
	"golang.org/x/sys/unix"
)

// Info tells about the daemon and its host, in Docker's shape.
func (e *Engine) Info(ctx context.Context) (system.Info, error) {
	imgs, err := e.rt.Images(ctx)
	if err != nil {
		return system.Info{}, err
	}
	host, err := os.Hostname()
	if err != nil {
		return system.Info{}, err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return system.Info{}, err
	}
	var mem unix.Sysinfo_t
	if err := unix.Sysinfo(&mem); err != nil {
		return system.Info{}, err
	}
	f := e.facts
	distribution, version := osRelease()
	forwarding := fileHolds("/proc/sys/net/ipv4/ip_forward", "1")
	i := system.Info{
		ID: e.id, Name: host, Images: len(imgs), Driver: "overlayfs", DriverStatus: [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}},
		Plugins:     system.PluginsInfo{Volume: []string{volumes.LocalDriver}, Network: []string{"bridge", "host", "null"}, Log: []string{logJSON, logLocal, logNone}},
		MemoryLimit: f.Memory, SwapLimit: f.Swap, CPUCfsPeriod: f.CPU, CPUCfsQuota: f.CPU, CPUShares: f.CPU, CPUSet: f.Cpuset, PidsLimit: f.Pids,
		IPv4Forwarding: forwarding, OomKillDisable: f.OOMKillDisable, Debug: log.GetLevel() >= log.DebugLevel,
		NFd: openFiles(), NGoroutines: runtime.NumGoroutine(), NEventsListener: e.bus.listeners(), SystemTime: time.Now().Format(time.RFC3339Nano),
		LoggingDriver: e.cfg.LogDriver, CgroupDriver: "cgroupfs", CgroupVersion: "1", KernelVersion: unix.ByteSliceToString(uts.Release[:]),
		OperatingSystem: distribution, OSVersion: version, OSType: "linux", Architecture: unix.ByteSliceToString(uts.Machine[:]), NCPU: runtime.NumCPU(),
		MemTotal: int64(mem.Totalram) * int64(mem.Unit), DockerRootDir: e.cfg.DataRoot, ServerVersion: e.cfg.Version,
		IndexServerAddress: "https://index.docker.io/v1/", RegistryConfig: registryConfig(e.cfg.InsecureRegistries, e.cfg.RegistryMirrors),
		HTTPProxy: proxy("HTTP_PROXY"), HTTPSProxy: proxy("HTTPS_PROXY"), NoProxy: proxy("NO_PROXY"),
		Runtimes:       map[string]system.RuntimeWithStatus{"runc": {Runtime: system.Runtime{Path: "runc"}}},
		DefaultRuntime: "runc", LiveRestoreEnabled: true, InitBinary: filepath.Base(e.cfg.InitPath), Labels: append([]string{}, e.cfg.Labels...),
		ContainerdCommit: e.commitOf("containerd"), RuncCommit: e.commitOf("runc"), InitCommit: system.Commit{ID: e.cfg.Version},
		FirewallBackend: &system.FirewallInfo{Driver: "nftables"}, Swarm: swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive},
		CDISpecDirs: append([]string{}, e.cfg.CDIDirs...), Warnings: warnings(f, forwarding), SecurityOptions: []string{},
	}
	for _, p := range e.cfg.Pools {
		i.DefaultAddressPools = append(i.DefaultAddressPools, system.NetworkAddressPool{Base: p.Base, Size: p.Size})
	}
	if f.CgroupV2 {
		i.CgroupVersion = "2"
	}
	if f.AppArmor {
		i.SecurityOptions = append(i.SecurityOptions, "name=apparmor")
	}
	if f.Seccomp {
		i.SecurityOptions = append(i.SecurityOptions, "name=seccomp,profile=builtin")
	}
	if f.CgroupV2 { // containers have a cgroup namespace of their own there
		i.SecurityOptions = append(i.SecurityOptions, "name=cgroupns")
	}
	for _, c := range e.all() {
		i.Containers++
		switch c.state().Status {
		case container.StateRunning, container.StateRestarting:
			i.ContainersRunning++
		case container.StatePaused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	return i, nil
}

func unmarshalStrings(s string, out *[]string) error { return json.Unmarshal([]byte(s), out) }
