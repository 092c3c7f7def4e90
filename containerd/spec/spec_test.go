package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testFacts are of a host with cgroup v2 and everything.
func testFacts() Facts {
	return Facts{
		CgroupV2: true,
		Memory:   true, Swap: true, Swappiness: false, OOMKillDisable: false,
		CPU: true, Cpuset: true, Pids: true, BlockIO: true, BlockIOWeight: true,
		Seccomp: true, AppArmor: true, RecursiveReadOnly: true, PingGroupRange: true, UnprivilegedPortStart: true,
		Capabilities: append([]string{"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_RESOURCE"}, defaultCapabilities...),
		Rlimits:      map[string]unix.Rlimit{"RLIMIT_NOFILE": {Cur: 1024, Max: 4096}},
		CPUs:         4, CpusetCpus: "0-3", CpusetMems: "0",
	}
}

func testInput(t *testing.T) Input {
	return Input{
		ID:          "c0ffee",
		Config:      container.Config{Cmd: []string{"true"}},
		Host:        container.HostConfig{NetworkMode: "web"},
		Rootfs:      t.TempDir(),
		Netns:       "/run/netns/c0ffee",
		Hostname:    "box",
		CgroupsPath: "/gantry-main/c0ffee",
		Facts:       testFacts(),
	}
}

func TestGolden(t *testing.T) {
	full := testInput(t)
	full.Config = container.Config{
		User: "7:8", Env: []string{"PATH=/bin", "X=1"}, Entrypoint: []string{"/entry"}, Cmd: []string{"a", "b c"},
		WorkingDir: "/srv/../srv/app/", Tty: true,
	}
	full.Domainname = "example.org"
	full.InitPath = "/opt/gantry/init"
	full.Mounts = []Mount{
		{Type: "bind", Source: "/files/hosts", Target: "/etc/hosts"},
		{Type: "tmpfs", Target: "/run", Options: []string{"noexec", "size=1m"}},
		{Type: "bind", Source: "/vol/etc", Target: "/etc", Options: []string{"rbind", "rslave", "rro"}},
		{Type: "tmpfs", Target: "/dev/shm", Options: []string{"size=5m"}},
	}
	full.Host = container.HostConfig{
		NetworkMode: "web", Init: ptr(true), ReadonlyRootfs: true, ConsoleSize: [2]uint{24, 80},
		CapAdd: []string{"net_admin"}, CapDrop: []string{"CAP_MKNOD"}, GroupAdd: []string{"99"},
		SecurityOpt: []string{"seccomp=unconfined", "no-new-privileges", "apparmor=mine", "label=disable"},
		Sysctls:     map[string]string{"net.core.somaxconn": "1024", "net.ipv4.ip_unprivileged_port_start": "80"},
		Annotations: map[string]string{"who": "me"}, OomScoreAdj: -5,
		MaskedPaths: []string{}, ReadonlyPaths: []string{"/proc/sys"},
		Resources: container.Resources{
			CgroupParent: "/teams/../a", Memory: 64 << 20, NanoCPUs: 1_500_000_000, CPUShares: 512, CpusetCpus: "0-1", PidsLimit: ptr(int64(0)), BlkioWeight: 300,
			Ulimits:           []*container.Ulimit{{Name: "nofile", Soft: 100, Hard: -1}},
			DeviceCgroupRules: []string{"c 10:* rw"},
		},
	}
	plain := testInput(t)
	v1 := testInput(t)
	v1.Facts.CgroupV2, v1.Facts.AppArmor, v1.Facts.Seccomp = false, false, false
	v1.Host.NetworkMode, v1.Netns = "host", ""
	for name, in := range map[string]Input{"default": plain, "full": full, "cgroup-v1": v1} {
		t.Run(name, func(t *testing.T) {
			s, err := Build(in)
			must(t, err)
			if s.Linux.Seccomp != nil { // of a library; that it works is another test's
				s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: s.Linux.Seccomp.DefaultAction}
			}
			got, err := json.MarshalIndent(s, "", "  ")
			must(t, err)
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				must(t, os.MkdirAll("testdata", 0o755))
				must(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s (-want +got):\n%s", file, cmp.Diff(string(want), string(got)))
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	blk := "/dev/null" // a device, but no block device
	for name, c := range map[string]struct {
		change func(*container.Config, *container.HostConfig)
		says   string
	}{
		"relative workdir":   {func(c *container.Config, h *container.HostConfig) { c.WorkingDir = "srv" }, "'srv'"},
		"runtime":            {func(c *container.Config, h *container.HostConfig) { h.Runtime = "kata" }, "runtime name: kata"},
		"storage":            {func(c *container.Config, h *container.HostConfig) { h.StorageOpt = map[string]string{"size": "1g"} }, "storage"},
		"userns":             {func(c *container.Config, h *container.HostConfig) { h.UsernsMode = "private" }, "user namespace"},
		"uts":                {func(c *container.Config, h *container.HostConfig) { h.UTSMode = "container:x" }, "UTS"},
		"pid":                {func(c *container.Config, h *container.HostConfig) { h.PidMode = "container:" }, "PID"},
		"ipc":                {func(c *container.Config, h *container.HostConfig) { h.IpcMode = "x" }, "IPC"},
		"cgroupns":           {func(c *container.Config, h *container.HostConfig) { h.CgroupnsMode = "x" }, "cgroup namespace"},
		"cgroup":             {func(c *container.Config, h *container.HostConfig) { h.Cgroup = "container:x" }, "cgroup"},
		"shm":                {func(c *container.Config, h *container.HostConfig) { h.ShmSize = -1 }, "SHM size"},
		"unknown capability": {func(c *container.Config, h *container.HostConfig) { h.CapDrop = []string{"FLY"} }, `CapDrop: unknown capability: "CAP_FLY"`},
		"no such capability": {func(c *container.Config, h *container.HostConfig) { h.CapAdd = []string{"SYS_TIME"} }, `"CAP_SYS_TIME"`},
		"security option":    {func(c *container.Config, h *container.HostConfig) { h.SecurityOpt = []string{"foo=bar"} }, `"foo=bar"`},
		"security value": {func(c *container.Config, h *container.HostConfig) {
			h.SecurityOpt = []string{"no-new-privileges=maybe"}
		}, "maybe"},
		"systempaths": {func(c *container.Config, h *container.HostConfig) { h.SecurityOpt = []string{"systempaths=x"} }, "systempaths"},
		"ulimit name": {func(c *container.Config, h *container.HostConfig) { h.Ulimits = []*container.Ulimit{{Name: "x"}} }, `"x"`},
		"ulimit order": {func(c *container.Config, h *container.HostConfig) {
			h.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: -1, Hard: 5}}
		}, "above hard"},
		"ulimit twice": {func(c *container.Config, h *container.HostConfig) {
			h.Ulimits = []*container.Ulimit{{Name: "core"}, {Name: "core"}}
		}, "twice"},
		"oom_score_adj": {func(c *container.Config, h *container.HostConfig) { h.OomScoreAdj = 1001 }, "1001"},
		"sysctl of the host": {func(c *container.Config, h *container.HostConfig) {
			h.Sysctls = map[string]string{"vm.swappiness": "1"}
		}, "vm.swappiness"},
		"sysctl, host network": {func(c *container.Config, h *container.HostConfig) {
			h.NetworkMode = "host"
			h.Sysctls = map[string]string{"net.core.somaxconn": "1"}
		}, "host's network"},
		"sysctl, host IPC": {func(c *container.Config, h *container.HostConfig) {
			h.IpcMode = "host"
			h.Sysctls = map[string]string{"fs.mqueue.msg_max": "1"}
		}, "IPC"},
		"little memory":       {func(c *container.Config, h *container.HostConfig) { h.Memory = 1 << 20 }, "Minimum memory limit allowed is 6MB"},
		"swap without memory": {func(c *container.Config, h *container.HostConfig) { h.MemorySwap = 1 << 30 }, "always set the Memory limit"},
		"swap below memory":   {func(c *container.Config, h *container.HostConfig) { h.Memory = 1 << 30; h.MemorySwap = 1 << 29 }, "larger than memory limit"},
		"reservation":         {func(c *container.Config, h *container.HostConfig) { h.Memory = 1 << 29; h.MemoryReservation = 1 << 30 }, "reservation"},
		"swappiness":          {func(c *container.Config, h *container.HostConfig) { h.MemorySwappiness = ptr(int64(101)) }, "101"},
		"too many cpus":       {func(c *container.Config, h *container.HostConfig) { h.NanoCPUs = 5e9 }, "from 0.01 to 4.00, as there are only 4 CPUs"},
		"cpus and quota":      {func(c *container.Config, h *container.HostConfig) { h.NanoCPUs = 1e9; h.CPUQuota = 5000 }, "Conflicting options"},
		"period":              {func(c *container.Config, h *container.HostConfig) { h.CPUPeriod = 10 }, "period"},
		"quota":               {func(c *container.Config, h *container.HostConfig) { h.CPUQuota = 10 }, "quota"},
		"shares":              {func(c *container.Config, h *container.HostConfig) { h.CPUShares = -1 }, "shares"},
		"weight":              {func(c *container.Config, h *container.HostConfig) { h.BlkioWeight = 5 }, "blkio weight"},
		"no block device":     {func(c *container.Config, h *container.HostConfig) { h.BlkioDeviceReadBps = throttleOf(blk) }, blk},
		"cpuset":              {func(c *container.Config, h *container.HostConfig) { h.CpusetCpus = "2-9" }, "Requested CPUs are not available - requested 2-9, available: 0-3"},
		"mems":                {func(c *container.Config, h *container.HostConfig) { h.CpusetMems = "1" }, "Requested memory nodes are not available"},
		"no cpuset":           {func(c *container.Config, h *container.HostConfig) { h.CpusetCpus = "0-" }, "Invalid value 0- for cpuset cpus"},
		"real time":           {func(c *container.Config, h *container.HostConfig) { h.CPURealtimeRuntime = 9 }, "real-time"},
		"stop signal":         {func(c *container.Config, h *container.HostConfig) { c.StopSignal = "SIGFLY" }, "SIGFLY"},
		"environment":         {func(c *container.Config, h *container.HostConfig) { c.Env = []string{"=x"} }, "invalid environment variable: =x"},
		"annotation":          {func(c *container.Config, h *container.HostConfig) { h.Annotations = map[string]string{"": "x"} }, "annotation key"},
		"for Windows":         {func(c *container.Config, h *container.HostConfig) { h.IOMaximumIOps = 1 }, "io-maxiops"},
		"umask":               {func(c *container.Config, h *container.HostConfig) { h.Umask = ptr(uint32(0o1000)) }, "umask"},
	} {
		t.Run(name, func(t *testing.T) {
			in := testInput(t)
			if c.change(&in.Config, &in.Host); true {
				_, err := Check(in.Config, in.Host, in.Facts)
				if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want an invalid argument that says %q", err, c.says)
				}
				if _, berr := Build(in); berr == nil || berr.Error() != err.Error() {
					t.Errorf("Build says %v, Check says %v", berr, err)
				}
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		says   string
		is     func(error) bool
	}{
		"no command":       {func(in *Input) { in.Config.Cmd = nil }, "no command", errdefs.IsInvalidArgument},
		"no netns":         {func(in *Input) { in.Netns = "" }, "network namespace", errdefs.IsFailedPrecondition},
		"no pid namespace": {func(in *Input) { in.Host.PidMode = "container:x" }, "PID namespace", errdefs.IsFailedPrecondition},
		"no ipc namespace": {func(in *Input) { in.Host.IpcMode = "container:x"; in.Shm = "/x" }, "IPC namespace", errdefs.IsFailedPrecondition},
		"no shm":           {func(in *Input) { in.Host.IpcMode = "shareable" }, "/dev/shm", errdefs.IsFailedPrecondition},
		"no init":          {func(in *Input) { in.Host.Init = ptr(true) }, "init", errdefs.IsFailedPrecondition},
		"unknown user":     {func(in *Input) { in.Config.User = "nobody" }, `"nobody"`, errdefs.IsInvalidArgument},
		"unknown group":    {func(in *Input) { in.Host.GroupAdd = []string{"video"} }, `"video"`, errdefs.IsInvalidArgument},
		"relative mount":   {func(in *Input) { in.Mounts = []Mount{{Type: "tmpfs", Target: "x"}} }, `"x"`, errdefs.IsInvalidArgument},
		"missing device":   {func(in *Input) { in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/nope"}} }, "/dev/nope", errdefs.IsInvalidArgument},
		"no device":        {func(in *Input) { in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/etc/passwd"}} }, "/etc/passwd", errdefs.IsInvalidArgument},
		"device access": {func(in *Input) {
			in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null", CgroupPermissions: "x"}}
		}, `"x"`, errdefs.IsInvalidArgument},
		"device rule":     {func(in *Input) { in.Host.DeviceCgroupRules = []string{"c 1:3"} }, "'c 1:3'", errdefs.IsInvalidArgument},
		"seccomp path":    {func(in *Input) { in.Host.SecurityOpt = []string{"seccomp=profile.json"} }, "profile.json", errdefs.IsInvalidArgument},
		"seccomp device":  {func(in *Input) { in.Host.SecurityOpt = []string{"seccomp=/dev/zero"} }, "no regular file", errdefs.IsInvalidArgument},
		"seccomp json":    {func(in *Input) { in.Host.SecurityOpt = []string{"seccomp={"} }, "inline", errdefs.IsInvalidArgument},
		"seccomp missing": {func(in *Input) { in.Facts.Seccomp = false; in.Host.SecurityOpt = []string{"seccomp={}"} }, "no seccomp", errdefs.IsInvalidArgument},
	} {
		t.Run(name, func(t *testing.T) {
			in := testInput(t)
			c.change(&in)
			_, err := Build(in)
			if !c.is(err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to say %q", err, c.says)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	f := testFacts()
	without := func(drop ...string) []string {
		return slices.DeleteFunc(slices.Clone(defaultCapabilities), func(c string) bool { return slices.Contains(drop, c) })
	}
	for name, c := range map[string]struct {
		add, drop, want []string
	}{
		"defaults":      {nil, nil, defaultCapabilities},
		"prefix or not": {[]string{"net_admin", "CAP_SYS_ADMIN"}, []string{"cap_chown"}, append(without("CAP_CHOWN"), "CAP_NET_ADMIN", "CAP_SYS_ADMIN")},
		"drop all":      {nil, []string{"ALL"}, nil},
		"only":          {[]string{"KILL"}, []string{"all"}, []string{"CAP_KILL"}},
		"all but":       {[]string{"ALL"}, []string{"SYS_ADMIN"}, f.Capabilities[1:]},
		"twice":         {[]string{"KILL", "CAP_KILL"}, []string{"ALL"}, []string{"CAP_KILL"}},
		"have it":       {[]string{"KILL"}, nil, defaultCapabilities},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := capabilities(container.HostConfig{CapAdd: c.add, CapDrop: c.drop}, f)
			must(t, err)
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
