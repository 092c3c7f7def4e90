package spec

import (
	"reflect"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// hostFields and configFields say how each field of a create request is
// honoured: by a change that must show in the specification, in a warning or in
// an error; or, where the value is a string, by whom else.
var hostFields = map[string]any{
	"Binds":                "volumes.Points",
	"Mounts":               "volumes.Points",
	"Tmpfs":                "volumes.Points",
	"VolumesFrom":          "engine.planMounts",
	"VolumeDriver":         "volumes.Points",
	"ContainerIDFile":      "the command line writes it; inspect shows it",
	"LogConfig":            "engine.checkLogConfig, outputOf",
	"PortBindings":         "engine, when it makes the network",
	"PublishAllPorts":      "engine, when it makes the network",
	"DNS":                  "engine, when it makes the network",
	"DNSOptions":           "engine, when it makes the network",
	"DNSSearch":            "engine, when it makes the network",
	"ExtraHosts":           "engine, when it makes the network",
	"Links":                "engine, when it makes the network",
	"RestartPolicy":        "engine.wantsRestart",
	"AutoRemove":           "engine, at the end of a run",
	"NetworkMode":          func(in *Input) { in.Host.NetworkMode, in.Netns = "host", "" },
	"ConsoleSize":          func(in *Input) { in.Config.Tty, in.Host.ConsoleSize = true, [2]uint{3, 4} },
	"Annotations":          func(in *Input) { in.Host.Annotations = map[string]string{"a": "b"} },
	"CapAdd":               func(in *Input) { in.Host.CapAdd = []string{"NET_ADMIN"} },
	"CapDrop":              func(in *Input) { in.Host.CapDrop = []string{"CHOWN"} },
	"CgroupnsMode":         func(in *Input) { in.Host.CgroupnsMode = "host" },
	"GroupAdd":             func(in *Input) { in.Host.GroupAdd = []string{"7"} },
	"IpcMode":              func(in *Input) { in.Host.IpcMode = "host" },
	"Cgroup":               func(in *Input) { in.Host.Cgroup = "container:x" },
	"OomScoreAdj":          func(in *Input) { in.Host.OomScoreAdj = 5 },
	"PidMode":              func(in *Input) { in.Host.PidMode = "host" },
	"Privileged":           func(in *Input) { in.Host.Privileged = true },
	"ReadonlyRootfs":       func(in *Input) { in.Host.ReadonlyRootfs = true },
	"SecurityOpt":          func(in *Input) { in.Host.SecurityOpt = []string{"no-new-privileges"} },
	"StorageOpt":           func(in *Input) { in.Host.StorageOpt = map[string]string{"size": "1g"} },
	"UTSMode":              func(in *Input) { in.Host.UTSMode = "host" },
	"UsernsMode":           func(in *Input) { in.Host.UsernsMode = "private" },
	"ShmSize":              func(in *Input) { in.Host.ShmSize = 1 << 20 },
	"Sysctls":              func(in *Input) { in.Host.Sysctls = map[string]string{"net.core.somaxconn": "5"} },
	"Runtime":              func(in *Input) { in.Host.Runtime = "kata" },
	"Umask":                func(in *Input) { in.Host.Umask = ptr(uint32(7)) },
	"Isolation":            func(in *Input) { in.Host.Isolation = "hyperv" },
	"MaskedPaths":          func(in *Input) { in.Host.MaskedPaths = []string{} },
	"ReadonlyPaths":        func(in *Input) { in.Host.ReadonlyPaths = []string{} },
	"Init":                 func(in *Input) { in.Host.Init = ptr(true) },
	"CPUShares":            func(in *Input) { in.Host.CPUShares = 5 },
	"Memory":               func(in *Input) { in.Host.Memory = 1 << 30 },
	"NanoCPUs":             func(in *Input) { in.Host.NanoCPUs = 1e9 },
	"CgroupParent":         func(in *Input) { in.Host.CgroupParent = "x" },
	"BlkioWeight":          func(in *Input) { in.Host.BlkioWeight = 50 },
	"BlkioWeightDevice":    func(in *Input) { in.Host.BlkioWeightDevice = []*blkiodev.WeightDevice{{Path: "/dev/null"}} },
	"BlkioDeviceReadBps":   func(in *Input) { in.Host.BlkioDeviceReadBps = throttleOf("/dev/null") },
	"BlkioDeviceWriteBps":  func(in *Input) { in.Host.BlkioDeviceWriteBps = throttleOf("/dev/null") },
	"BlkioDeviceReadIOps":  func(in *Input) { in.Host.BlkioDeviceReadIOps = throttleOf("/dev/null") },
	"BlkioDeviceWriteIOps": func(in *Input) { in.Host.BlkioDeviceWriteIOps = throttleOf("/dev/null") },
	"CPUPeriod":            func(in *Input) { in.Host.CPUPeriod = 5000 },
	"CPUQuota":             func(in *Input) { in.Host.CPUQuota = 5000 },
	"CPURealtimePeriod":    func(in *Input) { in.Host.CPURealtimePeriod = 5000 },
	"CPURealtimeRuntime":   func(in *Input) { in.Host.CPURealtimeRuntime = 5000 },
	"CpusetCpus":           func(in *Input) { in.Host.CpusetCpus = "1" },
	"CpusetMems":           func(in *Input) { in.Host.CpusetMems = "0" },
	"Devices":              func(in *Input) { in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null"}} },
	"DeviceCgroupRules":    func(in *Input) { in.Host.DeviceCgroupRules = []string{"c 1:1 r"} },
	"DeviceRequests":       func(in *Input) { in.Host.DeviceRequests = []container.DeviceRequest{{}} },
	"MemoryReservation":    func(in *Input) { in.Host.MemoryReservation = 1 << 30 },
	"MemorySwap":           func(in *Input) { in.Host.MemorySwap = -1 },
	"MemorySwappiness":     func(in *Input) { in.Host.MemorySwappiness = ptr(int64(5)) },
	"OomKillDisable":       func(in *Input) { in.Host.OomKillDisable = ptr(true) },
	"PidsLimit":            func(in *Input) { in.Host.PidsLimit = ptr(int64(5)) },
	"Ulimits":              func(in *Input) { in.Host.Ulimits = []*container.Ulimit{{Name: "core"}} },
	"CPUCount":             func(in *Input) { in.Host.CPUCount = 1 },
	"CPUPercent":           func(in *Input) { in.Host.CPUPercent = 1 },
	"IOMaximumIOps":        func(in *Input) { in.Host.IOMaximumIOps = 1 },
	"IOMaximumBandwidth":   func(in *Input) { in.Host.IOMaximumBandwidth = 1 },
}

var configFields = map[string]any{
	"Hostname":        "Input.Hostname, which the engine completes",
	"Domainname":      "Input.Domainname",
	"AttachStdin":     "what a client means to attach to; inspect shows it",
	"AttachStdout":    "what a client means to attach to; inspect shows it",
	"AttachStderr":    "what a client means to attach to; inspect shows it",
	"ExposedPorts":    "engine, when it makes the network",
	"OpenStdin":       "engine, at a start",
	"StdinOnce":       "engine.outputOf",
	"Healthcheck":     "engine.newCheck",
	"ArgsEscaped":     "for Windows images; inspect shows it",
	"Image":           "engine.create",
	"Volumes":         "volumes.Points",
	"NetworkDisabled": "engine.complete",
	"OnBuild":         "for images; inspect shows it",
	"Labels":          "inspect, filters, events",
	"StopTimeout":     "engine, at a stop",
	"Shell":           "engine.probe",
	"StopSignal":      func(in *Input) { in.Config.StopSignal = "SIGFLY" }, // else: engine, at a stop
	"User":            func(in *Input) { in.Config.User = "5" },
	"Tty":             func(in *Input) { in.Config.Tty = true },
	"Env":             func(in *Input) { in.Config.Env = []string{"A=b"} },
	"Cmd":             func(in *Input) { in.Config.Cmd = []string{"x"} },
	"WorkingDir":      func(in *Input) { in.Config.WorkingDir = "/x" },
	"Entrypoint":      func(in *Input) { in.Config.Entrypoint = []string{"x"} },
}

// No field that a client can send is ignored unnoticed; a new one in the API
// fails here until somebody says what becomes of it.
func TestEveryFieldIsHonoured(t *testing.T) {
	check := func(typ reflect.Type, fields map[string]any) {
		var names []string
		for _, f := range reflect.VisibleFields(typ) {
			if !f.Anonymous {
				names = append(names, f.Name)
			}
		}
		for name := range fields {
			if !slices.Contains(names, name) {
				t.Errorf("%v has no field %s any more", typ, name)
			}
		}
		for _, name := range names {
			switch how := fields[name].(type) {
			case nil:
				t.Errorf("%v.%s: nothing says how it is honoured", typ, name)
			case func(*Input):
				if !shows(t, how) {
					t.Errorf("%v.%s is ignored", typ, name)
				}
			}
		}
	}
	check(reflect.TypeFor[container.HostConfig](), hostFields)
	check(reflect.TypeFor[container.Config](), configFields)
}

// shows tells whether a change makes any difference.
func shows(t *testing.T, change func(*Input)) bool {
	t.Helper()
	in := testInput(t)
	in.InitPath = "/init"
	in.Facts.CPURealtime, in.Facts.Swappiness, in.Facts.OOMKillDisable = true, true, true
	before, err := Build(in)
	must(t, err)
	change(&in)
	warnings, _ := Check(in.Config, in.Host, in.Facts)
	after, err := Build(in)
	return err != nil || len(warnings) > 0 || !cmp.Equal(before, after)
}

func TestEverySecurityOptionShows(t *testing.T) {
	for _, opt := range []string{"no-new-privileges", "no-new-privileges=true", "seccomp=unconfined", "seccomp={}", "apparmor=unconfined", "apparmor:mine", "label=type:x", "systempaths=unconfined", "writable-cgroups=true"} {
		if !shows(t, func(in *Input) { in.Host.SecurityOpt = []string{opt} }) {
			t.Errorf("%s is ignored", opt)
		}
	}
	in := testInput(t)
	in.Host.SecurityOpt = []string{"writable-cgroups=true"}
	s, err := Build(in)
	must(t, err)
	i := slices.IndexFunc(s.Mounts, func(m specs.Mount) bool { return m.Destination == "/sys/fs/cgroup" })
	if slices.Contains(s.Mounts[i].Options, "ro") {
		t.Errorf("writable cgroups are mounted %q", s.Mounts[i].Options)
	}
	in.Facts.CgroupV2 = false
	if _, err := Build(in); !errdefs.IsInvalidArgument(err) {
		t.Errorf("writable cgroups with cgroup v1: %v", err)
	}
}

// What may hang on a field of a part that is checked as a whole above.
func TestEveryFieldOfPartsIsKnown(t *testing.T) {
	for typ, known := range map[reflect.Type][]string{
		reflect.TypeFor[container.DeviceMapping]():  {"PathOnHost", "PathInContainer", "CgroupPermissions"},
		reflect.TypeFor[container.DeviceRequest]():  {"Driver", "Count", "DeviceIDs", "Capabilities", "Options"},
		reflect.TypeFor[container.LogConfig]():      {"Type", "Config"},
		reflect.TypeFor[container.RestartPolicy]():  {"Name", "MaximumRetryCount"},
		reflect.TypeFor[container.Ulimit]():         {"Name", "Hard", "Soft"},
		reflect.TypeFor[container.HealthConfig]():   {"Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"},
		reflect.TypeFor[blkiodev.WeightDevice]():    {"Path", "Weight"},
		reflect.TypeFor[blkiodev.ThrottleDevice]():  {"Path", "Rate"},
		reflect.TypeFor[network.NetworkingConfig](): {"EndpointsConfig"},
		reflect.TypeFor[container.CreateRequest]():  {"Config", "HostConfig", "NetworkingConfig"},
		reflect.TypeFor[container.UpdateConfig]():   {"Resources", "RestartPolicy"},
	} {
		var names []string
		for i := range typ.NumField() {
			names = append(names, typ.Field(i).Name)
		}
		if diff := cmp.Diff(known, names); diff != "" {
			t.Errorf("%v (-known +is):\n%s", typ, diff)
		}
	}
}
