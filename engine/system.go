package engine

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"path"
	"runtime"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
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
	i := system.Info{
		ID: hashID(e.cfg.DataRoot, host)[:32], Name: host, Images: len(imgs), Driver: "overlayfs", DriverStatus: [][2]string{},
		MemoryLimit: f.Memory, SwapLimit: f.Swap, CPUCfsPeriod: f.CPU, CPUCfsQuota: f.CPU, CPUShares: f.CPU, CPUSet: f.Cpuset, PidsLimit: f.Pids,
		IPv4Forwarding: true, OomKillDisable: f.OOMKillDisable, NGoroutines: runtime.NumGoroutine(), SystemTime: time.Now().Format(time.RFC3339Nano),
		LoggingDriver: e.cfg.LogDriver, CgroupDriver: "cgroupfs", CgroupVersion: "1", KernelVersion: unix.ByteSliceToString(uts.Release[:]),
		OperatingSystem: osName(), OSType: "linux", Architecture: unix.ByteSliceToString(uts.Machine[:]), NCPU: runtime.NumCPU(),
		MemTotal: int64(mem.Totalram) * int64(mem.Unit), DockerRootDir: e.cfg.DataRoot, ServerVersion: e.cfg.Version,
		Runtimes:       map[string]system.RuntimeWithStatus{"runc": {Runtime: system.Runtime{Path: "runc"}}},
		DefaultRuntime: "runc", LiveRestoreEnabled: true, InitBinary: "gantry-shim", Warnings: []string{}, Labels: []string{},
	}
	if f.CgroupV2 {
		i.CgroupVersion = "2"
	}
	if f.Seccomp {
		i.SecurityOptions = append(i.SecurityOptions, "name=seccomp,profile=builtin")
	}
	if f.AppArmor {
		i.SecurityOptions = append(i.SecurityOptions, "name=apparmor")
	}
	for _, c := range e.all() {
		i.Containers++
		switch c.state().Status {
		case container.StateRunning:
			i.ContainersRunning++
		case container.StatePaused:
			i.ContainersPaused++
		default:
			i.ContainersStopped++
		}
	}
	return i, nil
}

// osName is what the host calls itself. Source: os-release(5).
func osName() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return "Linux"
}

func unmarshalStrings(s string, out *[]string) error { return json.Unmarshal([]byte(s), out) }

// matchReference tells whether a familiar reference matches a pattern, with or
// without its tag. Source: docker image ls --filter reference.
func matchReference(pattern, ref string) bool {
	if ok, err := path.Match(pattern, ref); err == nil && ok {
		return true
	}
	repo, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndex(repo, ":"); i > strings.LastIndex(repo, "/") {
		repo = repo[:i]
	}
	ok, err := path.Match(pattern, repo)
	return err == nil && ok
}
