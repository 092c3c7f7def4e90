package project

import (
	"encoding/json"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/blkiodev"
	"github.com/moby/moby/api/types/container"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

func (t *translator) hostConfig(s types.ServiceConfig, networks []Attachment) container.HostConfig {
	h := container.HostConfig{
		LogConfig:      logConfig(s.Logging),
		NetworkMode:    networkMode(s, networks),
		PortBindings:   t.bindings(s),
		RestartPolicy:  t.restartPolicy(s),
		Annotations:    nonEmpty(s.Annotations),
		CapAdd:         s.CapAdd,
		CapDrop:        s.CapDrop,
		CgroupnsMode:   container.CgroupnsMode(s.Cgroup),
		DNS:            t.dns(s),
		DNSOptions:     s.DNSOpts,
		DNSSearch:      s.DNSSearch,
		ExtraHosts:     extraHosts(s.ExtraHosts),
		GroupAdd:       s.GroupAdd,
		IpcMode:        container.IpcMode(s.Ipc),
		OomScoreAdj:    int(s.OomScoreAdj),
		PidMode:        container.PidMode(s.Pid),
		Privileged:     s.Privileged,
		ReadonlyRootfs: s.ReadOnly,
		Tmpfs:          tmpfs(s.Tmpfs),
		UTSMode:        container.UTSMode(s.Uts),
		UsernsMode:     container.UsernsMode(s.UserNSMode),
		ShmSize:        int64(s.ShmSize),
		Sysctls:        nonEmpty(s.Sysctls),
		Runtime:        s.Runtime,
		Umask:          s.Umask,
		Resources:      resources(s),
		Mounts:         t.mounts(s),
		VolumesFrom:    volumesFrom(s.VolumesFrom),
		Init:           s.Init,
	}
	t.securityOpt(s, &h)
	return h
}

func logConfig(l *types.LoggingConfig) container.LogConfig {
	if l == nil {
		return container.LogConfig{}
	}
	return container.LogConfig{Type: l.Driver, Config: nonEmpty(l.Options)}
}

func networkMode(s types.ServiceConfig, networks []Attachment) container.NetworkMode {
	if len(networks) > 0 {
		return container.NetworkMode(networks[0].Name)
	}
	if s.NetworkMode == "" || limitNetworkMode(s.NetworkMode) != "" || s.NetworkMode == "default" {
		return "bridge"
	}
	return container.NetworkMode(s.NetworkMode)
}

// restartPolicy translates restart, or deploy.restart_policy, which wins.
func (t *translator) restartPolicy(s types.ServiceConfig) container.RestartPolicy {
	name, count, limited := strings.Cut(s.Restart, ":")
	path := []string{"restart"}
	var attempts int
	if limited {
		n, err := strconv.Atoi(count)
		if err != nil || n < 0 {
			t.problem(s, path, "restart %q: %q is not a number of attempts", s.Restart, count)
		}
		attempts = n
	}
	if s.Deploy != nil && s.Deploy.RestartPolicy != nil {
		path = []string{"deploy", "restart_policy"}
		name, attempts = first(s.Deploy.RestartPolicy.Condition, "any"), 0
		if n := s.Deploy.RestartPolicy.MaxAttempts; n != nil {
			attempts = int(*n)
		}
	}
	policy := container.RestartPolicy{MaximumRetryCount: attempts}
	switch name {
	case "":
	case "no", "none":
		policy.Name = container.RestartPolicyDisabled
	case "always", "any":
		policy.Name = container.RestartPolicyAlways
	case "on-failure":
		policy.Name = container.RestartPolicyOnFailure
	case "unless-stopped":
		policy.Name = container.RestartPolicyUnlessStopped
	default:
		t.problem(s, path, "restart policy %q is not known; use no, always, on-failure[:ATTEMPTS] or unless-stopped", name)
	}
	if attempts > 0 && policy.Name != container.RestartPolicyOnFailure {
		if limited {
			t.problem(s, path, "restart %q: only on-failure takes a number of attempts", s.Restart)
		} else {
			t.problem(s, append(path, "max_attempts"), "max_attempts needs the condition on-failure")
		}
	}
	return policy
}

func (t *translator) dns(s types.ServiceConfig) []netip.Addr {
	var out []netip.Addr
	for _, server := range s.DNS {
		addr, err := netip.ParseAddr(server)
		if err != nil {
			t.problem(s, []string{"dns"}, "dns %q is not an IP address", server)
			continue
		}
		out = append(out, addr)
	}
	return out
}

// extraHosts gives HOST:ADDRESS, sorted.
func extraHosts(h types.HostsList) []string {
	if len(h) == 0 {
		return nil
	}
	list := h.AsList(":")
	slices.Sort(list)
	return list
}

// volumesFrom gives service:NAME[:MODE], in the user's order.
func volumesFrom(list []string) []string {
	var out []string
	for _, from := range list {
		if limitVolumesFrom(from) == "" { // else refused before, or ignored on the user's word
			out = append(out, types.ServicePrefix+from)
		}
	}
	return out
}

// tmpfs maps targets to mount options.
func tmpfs(list []string) map[string]string {
	if len(list) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, entry := range list {
		target, options, _ := strings.Cut(entry, ":")
		out[filepath.Clean(target)] = options
	}
	return out
}

// securityOpt translates to KEY=VALUE with a seccomp profile's content in
// place of its file. Source: Docker's --security-opt.
func (t *translator) securityOpt(s types.ServiceConfig, h *container.HostConfig) {
	for i, opt := range s.SecurityOpt {
		path := []string{"security_opt", strconv.Itoa(i)}
		key, value, ok := strings.Cut(opt, "=")
		if !ok {
			key, value, ok = strings.Cut(opt, ":")
		}
		switch {
		case key == "systempaths" && value == "unconfined":
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
		case key == "no-new-privileges" && !ok:
			h.SecurityOpt = append(h.SecurityOpt, key)
		case !ok:
			t.problem(s, path, "security_opt %q is not KEY=VALUE", opt)
		case key == "seccomp" && value != "unconfined" && value != "builtin":
			profile, err := seccomp(absolute(t.model.WorkingDir, value))
			if err != nil {
				t.problem(s, path, "cannot use seccomp profile %q: %s", value, reason(err))
				continue
			}
			h.SecurityOpt = append(h.SecurityOpt, "seccomp="+profile)
		default:
			h.SecurityOpt = append(h.SecurityOpt, key+"="+value)
		}
	}
}

func seccomp(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var profile any
	if err := json.Unmarshal(content, &profile); err != nil {
		return "", err
	}
	compact, err := json.Marshal(profile)
	return string(compact), err
}

// resources merges the service's keys with deploy.resources.
func resources(s types.ServiceConfig) container.Resources {
	r := container.Resources{
		CPUShares:          s.CPUShares,
		Memory:             int64(s.MemLimit),
		NanoCPUs:           nanoCPUs(s.CPUS),
		CgroupParent:       s.CgroupParent,
		CPUPeriod:          s.CPUPeriod,
		CPUQuota:           s.CPUQuota,
		CPURealtimePeriod:  s.CPURTPeriod,
		CPURealtimeRuntime: s.CPURTRuntime,
		CpusetCpus:         s.CPUSet,
		DeviceCgroupRules:  s.DeviceCgroupRules,
		MemoryReservation:  int64(s.MemReservation),
		MemorySwap:         int64(s.MemSwapLimit),
		Ulimits:            ulimits(s.Ulimits),
	}
	if s.MemSwappiness != 0 {
		n := int64(s.MemSwappiness)
		r.MemorySwappiness = &n
	}
	if s.OomKillDisable {
		r.OomKillDisable = &s.OomKillDisable
	}
	if s.PidsLimit != 0 {
		r.PidsLimit = &s.PidsLimit
	}
	r.DeviceRequests = deviceRequests(s)
	for _, d := range s.Devices {
		if isCDI(d) {
			continue
		}
		r.Devices = append(r.Devices, container.DeviceMapping{
			PathOnHost: d.Source, PathInContainer: first(d.Target, d.Source), CgroupPermissions: first(d.Permissions, "rwm"),
		})
	}
	blkio(s.BlkioConfig, &r)
	if s.Deploy != nil {
		deployed(s.Deploy.Resources, &r)
	}
	return r
}

// isCDI says that a device is one of a CDI specification, vendor.com/class=name.
func isCDI(d types.DeviceMapping) bool {
	return parser.IsQualifiedName(d.Source) && (d.Target == "" || d.Target == d.Source)
}

// deviceRequests are devices by their CDI names, gpus, and those that deploy
// reserves.
func deviceRequests(s types.ServiceConfig) (out []container.DeviceRequest) {
	var named []string
	for _, d := range s.Devices {
		if isCDI(d) {
			named = append(named, d.Source)
		}
	}
	if len(named) > 0 {
		out = append(out, container.DeviceRequest{Driver: "cdi", DeviceIDs: named})
	}
	ask := func(d types.DeviceRequest, capabilities ...string) {
		r := container.DeviceRequest{Driver: d.Driver, Count: int(d.Count), DeviceIDs: d.IDs}
		for _, c := range d.Capabilities {
			if !slices.Contains(capabilities, c) {
				capabilities = append(capabilities, c)
			}
		}
		if r.Driver == "cdi" { // its names say all
			r.Count = 0
		} else {
			r.Capabilities = [][]string{capabilities}
		}
		out = append(out, r)
	}
	for _, d := range s.Gpus {
		ask(d, "gpu")
	}
	if s.Deploy != nil && s.Deploy.Resources.Reservations != nil {
		for _, d := range s.Deploy.Resources.Reservations.Devices {
			ask(d)
		}
	}
	return out
}

func deployed(d types.Resources, r *container.Resources) {
	if l := d.Limits; l != nil {
		if l.NanoCPUs != 0 {
			r.NanoCPUs = nanoCPUs(l.NanoCPUs.Value())
		}
		if l.MemoryBytes != 0 {
			r.Memory = int64(l.MemoryBytes)
		}
		if l.Pids != 0 {
			r.PidsLimit = &l.Pids
		}
	}
	if m := d.Reservations; m != nil && m.MemoryBytes != 0 {
		r.MemoryReservation = int64(m.MemoryBytes)
	}
}

// nanoCPUs avoids that 0.1 becomes 100000001 through binary fractions.
func nanoCPUs(cpus float32) int64 {
	exact, _ := strconv.ParseFloat(strconv.FormatFloat(float64(cpus), 'g', -1, 32), 64)
	return int64(math.Round(exact * 1e9))
}

func ulimits(m map[string]*types.UlimitsConfig) []*container.Ulimit {
	var out []*container.Ulimit
	for name, u := range m {
		soft, hard := int64(u.Soft), int64(u.Hard)
		if u.Single != 0 {
			soft, hard = int64(u.Single), int64(u.Single)
		}
		out = append(out, &container.Ulimit{Name: name, Soft: soft, Hard: hard})
	}
	slices.SortFunc(out, func(a, b *container.Ulimit) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func blkio(b *types.BlkioConfig, r *container.Resources) {
	if b == nil {
		return
	}
	r.BlkioWeight = b.Weight
	for _, d := range b.WeightDevice {
		r.BlkioWeightDevice = append(r.BlkioWeightDevice, &blkiodev.WeightDevice{Path: d.Path, Weight: d.Weight})
	}
	throttle := func(devices []types.ThrottleDevice) (out []*blkiodev.ThrottleDevice) {
		for _, d := range devices {
			out = append(out, &blkiodev.ThrottleDevice{Path: d.Path, Rate: uint64(d.Rate)})
		}
		return out
	}
	r.BlkioDeviceReadBps, r.BlkioDeviceReadIOps = throttle(b.DeviceReadBps), throttle(b.DeviceReadIOps)
	r.BlkioDeviceWriteBps, r.BlkioDeviceWriteIOps = throttle(b.DeviceWriteBps), throttle(b.DeviceWriteIOps)
}

// nonEmpty returns nil for an empty map, so that a Project survives JSON.
func nonEmpty[M ~map[string]string](m M) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
