package spec

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"
)

func ptr[T any](v T) *T { return &v }

func contains(t *testing.T, out string, wants ...string) {
	t.Helper()
	for _, w := range wants {
		if !strings.Contains(out, w) {
			t.Errorf("missing %q in:\n%s", w, out)
		}
	}
}

func TestRunDefaults(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	in := s.input("c1", rootfs(t), "sh", "-c", `
		echo id=$(id); echo host=$(hostname) HOSTNAME=$HOSTNAME; echo HOME=$HOME PATH=$PATH pwd=$(pwd)
		grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status
		echo domain=$(cat /proc/sys/kernel/domainname)
		mount; touch /sys/x || echo sys-ro; echo 1 > /proc/sys/vm/swappiness || echo proc-ro
		ls /proc/scsi /sys/firmware; df -k /dev/shm | tail -1
		ls /dev | sort | xargs echo dev:
		cat /proc/sys/net/ipv4/ip_unprivileged_port_start`)
	in.Config.WorkingDir = "/made/by/runtime"
	in.Domainname = "example.org"
	out := s.run(in)
	contains(t, out,
		"id=uid=0(root) gid=0(root)", "host=c1 HOSTNAME=c1", "HOME=/root", "PATH="+DefaultPath, "pwd=/made/by/runtime",
		"domain=example.org", "sys-ro", "proc-ro", "NoNewPrivs:\t0", "Seccomp:\t2",
		"mqueue on /dev/mqueue", " full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero")
	if !strings.Contains(out, "CapEff:\t00000000a80425fb") { // what docker run shows
		t.Errorf("capabilities are not Docker's:\n%s", out)
	}
	if !regexp.MustCompile(`(?m)^shm\s+65536 `).MatchString(out) {
		t.Errorf("/dev/shm is not a tmpfs of 64 MiB:\n%s", out)
	}
	if lines := strings.Split(out, "\n"); lines[len(lines)-1] != "0" {
		t.Errorf("ports below 1024 are not free:\n%s", out)
	}
}

func TestRunUser(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	in := s.input("c1", rootfs(t), "sh", "-c", `id -u; id -g; id -G; echo $HOME; umask; grep -E 'CapEff|CapBnd' /proc/self/status`)
	in.Config.User = "app"
	in.Host.GroupAdd = []string{"audio", "4242"}
	in.Host.Umask = ptr(uint32(0o027))
	out := strings.Split(s.run(in), "\n")
	want := []string{"1000", "1000", "1000 10 29 4242", "/home/app", "0027", "CapEff:\t0000000000000000", "CapBnd:\t00000000a80425fb"}
	if !slices.Equal(out, want) {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestRunPrivileged(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	in := s.input("c1", rootfs(t), "sh", "-c", `
		grep -E '^(CapEff|Seccomp):' /proc/self/status; mount | grep -E " /(proc|sys)/" | grep -v cgroup || echo nothing-hidden
		ls /dev; mkdir /sys/fs/cgroup/memory/x 2>/dev/null; mount -t tmpfs t /tmp && echo mounted
		mount | grep ' /sys ' `)
	in.Host.Privileged = true
	// Naming a device on top must not make it twice.
	in.Host.Devices = []container.DeviceMapping{{PathOnHost: "/dev/null"}, {PathOnHost: "/dev/zero", PathInContainer: "/dev/my-zero"}}
	out := s.run(in)
	contains(t, out, "Seccomp:\t0", "nothing-hidden", "mounted", "my-zero", "sysfs on /sys type sysfs (rw")
	status, err := os.ReadFile("/proc/self/status")
	must(t, err)
	own := regexp.MustCompile(`CapBnd:\s+(\w+)`).FindStringSubmatch(string(status))[1]
	contains(t, out, "CapEff:\t"+own)
	for _, d := range []string{"kmsg", "loop-control"} {
		if exists("/dev/"+d) && !strings.Contains(out, d) {
			t.Errorf("device %s of the host is missing:\n%s", d, out)
		}
	}
}

func TestRunReadonlyAndMounts(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	root := rootfs(t)
	host := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(host, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(host, "hosts"), []byte("127.0.0.1 localhost\n"), 0o644))
	in := s.input("c1", root, "sh", "-c", `
		touch /x || echo root-ro; touch /data/y && echo data-rw; touch /ro/sub/z || echo ro
		cat /etc/hosts; touch /run/a && echo run-rw; mount | grep -E ' /(run|data|ro|data/inner) '; stat -c %a /run; ls -d /sub/dir`)
	in.Host.ReadonlyRootfs = true
	in.Config.WorkingDir = "/sub/dir"
	in.Mounts = []Mount{
		{Type: "tmpfs", Target: "/data/inner", Options: []string{"noexec", "size=1m"}}, // before its parent
		{Type: "bind", Source: host, Target: "/data"},
		{Type: "bind", Source: host, Target: "/ro", Options: []string{"rbind", "rprivate", "rro"}},
		{Type: "bind", Source: filepath.Join(host, "hosts"), Target: "/etc/hosts", Options: []string{"bind", "ro"}},
		{Type: "tmpfs", Target: "/run", Options: []string{"nosuid", "mode=750", "size=65536"}},
	}
	out := s.run(in)
	contains(t, out, "root-ro", "data-rw", "127.0.0.1 localhost", "run-rw", "tmpfs on /data/inner", "750", "/sub/dir")
	if !regexp.MustCompile(`(?m)^ro$`).MatchString(out) {
		t.Errorf("the mount below a read-only one can be written:\n%s", out)
	}
	if !exists(filepath.Join(host, "y")) {
		t.Error("the bind does not reach the host")
	}
}

func TestRunInitAndEnv(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	// busybox as an init of sorts: "init -- CMD" is tini's way; env's is the same.
	root := rootfs(t)
	initBin := filepath.Join(t.TempDir(), "init")
	must(t, os.WriteFile(initBin, []byte("#!/bin/sh\nshift\nexport BY_INIT=1\nexec \"$@\"\n"), 0o755))
	in := s.input("c1", root, "env")
	in.Config.Entrypoint = []string{"env", "FROM=entrypoint"}
	in.Config.Env = []string{"PATH=/bin", "EMPTY=", "HOSTNAME", "A=b=c"}
	in.Host.Init = ptr(true)
	in.InitPath = initBin
	got := strings.Split(s.run(in), "\n")
	slices.Sort(got)
	// The variables of sh itself are not ours.
	got = slices.DeleteFunc(got, func(e string) bool { return strings.HasPrefix(e, "PWD=") || strings.HasPrefix(e, "SHLVL=") })
	if want := []string{"A=b=c", "BY_INIT=1", "EMPTY=", "FROM=entrypoint", "HOME=/root", "PATH=/bin"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunLimits(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	if s.facts.CgroupV2 {
		t.Log("cgroup v2: files of v2 are read")
	}
	files := "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max"
	want := []string{"67108864", "50000", "77", "123", "512", "1024", "1"}
	if s.facts.CgroupV2 {
		files = "/sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max"
		want[1] = "50000 100000"
	}
	in := s.input("c1", rootfs(t), "sh", "-c", "cat "+files+" /proc/self/oom_score_adj; ulimit -Sn; ulimit -Hn; cat /proc/sys/kernel/shm_rmid_forced")
	in.Host.CgroupnsMode = "private"
	in.Host.Memory = 64 << 20
	in.Host.NanoCPUs = 5e8
	in.Host.PidsLimit = ptr(int64(77))
	in.Host.OomScoreAdj = 123
	in.Host.Ulimits = []*container.Ulimit{{Name: "nofile", Soft: 512, Hard: 1024}}
	in.Host.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1"}
	if got := strings.Split(s.run(in), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunAboveHardLimitIsRefused(t *testing.T) {
	f, err := Detect()
	must(t, err)
	f.Capabilities = slices.DeleteFunc(f.Capabilities, func(c string) bool { return c == "CAP_SYS_RESOURCE" })
	cur := f.Rlimits["RLIMIT_NOFILE"]
	h := container.HostConfig{Resources: container.Resources{Ulimits: []*container.Ulimit{{Name: "nofile", Soft: 10, Hard: int64(cur.Max) + 1}}}}
	if _, err := Check(container.Config{}, h, f); err == nil || !strings.Contains(err.Error(), strconv.FormatUint(cur.Max, 10)) {
		t.Errorf("got %v, want an error naming the limit %d", err, cur.Max)
	}
	h.Ulimits[0].Hard = int64(cur.Max)
	if _, err := Check(container.Config{}, h, f); err != nil {
		t.Errorf("the limit itself: %v", err)
	}
}

func TestRunSharedNamespaces(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	root := rootfs(t)
	shm := t.TempDir()
	first := s.input("one", root, "sleep", "1000")
	first.Host.IpcMode = "shareable"
	first.Shm = shm
	s.start(first)
	pid := s.pid("one")

	in := s.input("two", rootfs(t), "sh", "-c", `ps | grep -c 'sleep 100[0]'; touch /dev/shm/from-two; readlink /proc/self/ns/ipc; readlink /proc/self/ns/net; ls /dev/shm`)
	in.Host.PidMode, in.PidNS = "container:one", "/proc/"+pid+"/ns/pid"
	in.Host.IpcMode, in.IpcNS, in.Shm = "container:one", "/proc/"+pid+"/ns/ipc", shm
	in.Host.NetworkMode, in.Netns = "container:one", "/proc/"+pid+"/ns/net"
	in.Host.Init = ptr(true) // of no use here, so no init is needed
	ipc, err := os.Readlink("/proc/" + pid + "/ns/ipc")
	must(t, err)
	net, err := os.Readlink("/proc/" + pid + "/ns/net")
	must(t, err)
	contains(t, s.run(in), "1\n", ipc, net, "from-two")
	if !exists(filepath.Join(shm, "from-two")) {
		t.Error("/dev/shm is not shared")
	}
}

func TestRunHostNamespaces(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	in := s.input("c1", rootfs(t), "sh", "-c", `for n in net pid ipc uts cgroup; do readlink /proc/self/ns/$n; done; mount | grep ' /dev/shm '; mount | grep ' /dev/mqueue '`)
	in.Host = container.HostConfig{NetworkMode: "host", PidMode: "host", IpcMode: "host", UTSMode: "host", CgroupnsMode: "host"}
	out := s.run(in)
	for _, n := range []string{"net", "pid", "ipc", "uts", "cgroup"} {
		own, err := os.Readlink("/proc/self/ns/" + n)
		must(t, err)
		contains(t, out, own)
	}
	contains(t, out, "/dev/shm", "/dev/mqueue")
}

func (s *sandbox) pid(id string) string {
	s.t.Helper()
	out, err := s.runc("state", id)
	must(s.t, err)
	return regexp.MustCompile(`"pid": (\d+)`).FindStringSubmatch(out)[1]
}

func TestExec(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	root := rootfs(t)
	in := s.input("c1", root, "sleep", "1000")
	in.Config.Env = []string{"A=1", "B=2"}
	in.Config.WorkingDir = "/work"
	base := s.start(in)
	live := "/proc/" + s.pid("c1") + "/root"
	run := func(req container.ExecCreateRequest, groups ...string) string {
		t.Helper()
		p, err := Process(base, req, live, groups...)
		must(t, err)
		out, err := s.exec("c1", p)
		if err != nil {
			t.Fatalf("exec: %v\n%s", err, out)
		}
		return out
	}
	script := `echo $(id -u):$(id -G) $PWD $A$B $HOME; grep CapEff /proc/self/status`
	got := run(container.ExecCreateRequest{Cmd: []string{"sh", "-c", script}, Env: []string{"A=x"}})
	if want := "0:0 /work x2 /root\nCapEff:\t00000000a80425fb"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// A user that came with the running container, not with the image.
	run(container.ExecCreateRequest{Cmd: []string{"sh", "-c", "echo late:x:1234:5678::/home/app:/bin/sh >> /etc/passwd"}})
	got = run(container.ExecCreateRequest{Cmd: []string{"sh", "-c", script}, User: "late", WorkingDir: "/tmp", Env: []string{"B"}}, "audio")
	if want := "1234:5678 29 /tmp 1 /home/app\nCapEff:\t0000000000000000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	own, err := boundingSet()
	must(t, err)
	got = run(container.ExecCreateRequest{Cmd: []string{"sh", "-c", `grep CapEff /proc/self/status`}, Privileged: true})
	if got == "CapEff:\t00000000a80425fb" && len(own) > len(defaultCapabilities) {
		t.Errorf("a privileged exec has only %s", got)
	}
}

func TestRunCustomSeccomp(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	profile := `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}`
	file := filepath.Join(t.TempDir(), "profile.json")
	must(t, os.WriteFile(file, []byte(profile), 0o644))
	for _, opt := range []string{profile, file} {
		in := s.input("c1", rootfs(t), "sh", "-c", "mkdir /tmp/x || echo refused; grep NoNewPrivs /proc/self/status")
		in.Host.SecurityOpt = []string{"seccomp=" + opt, "no-new-privileges:true"}
		contains(t, s.run(in), "refused", "NoNewPrivs:\t1")
	}
}

func TestRunDevices(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	dir := t.TempDir()
	must(t, os.Symlink("/dev/zero", filepath.Join(dir, "link")))
	in := s.input("c1", rootfs(t), "sh", "-c", "head -c 3 /dev/z | wc -c; ls /dev/net; mknod /tmp/f b 7 200 && (cat /tmp/f || echo denied)")
	in.Host.Devices = []container.DeviceMapping{{PathOnHost: filepath.Join(dir, "link"), PathInContainer: "/dev/z", CgroupPermissions: "r"}}
	want := []string{"3", "denied"}
	if exists("/dev/net/tun") {
		in.Host.Devices = append(in.Host.Devices, container.DeviceMapping{PathOnHost: "/dev/net", PathInContainer: "/dev/net"})
		want = append(want, "tun")
	}
	contains(t, s.run(in), want...)
}

func TestRunPropagation(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	host := t.TempDir()
	must(t, unix.Mount("tmpfs", host, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(host, unix.MNT_DETACH)) })
	must(t, unix.Mount("", host, "", unix.MS_SHARED, ""))
	for _, d := range []string{"later", "theirs"} {
		must(t, os.Mkdir(filepath.Join(host, d), 0o755))
	}
	in := s.input("c1", rootfs(t), "sleep", "1000")
	in.Host.CapAdd = []string{"SYS_ADMIN"}
	in.Host.SecurityOpt = []string{"apparmor=unconfined"}
	in.Mounts = []Mount{
		{Type: "bind", Source: host, Target: "/slave", Options: []string{"rbind", "rslave"}},
		{Type: "bind", Source: host, Target: "/shared", Options: []string{"rbind", "rshared"}},
		{Type: "bind", Source: host, Target: "/private"},
	}
	base := s.start(in)
	must(t, unix.Mount("tmpfs", filepath.Join(host, "later"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(host, "later"), unix.MNT_DETACH)) })
	p, err := Process(base, container.ExecCreateRequest{Cmd: []string{"sh", "-c", "mount -t tmpfs t /shared/theirs && mount | grep -o ' /[a-z]*/[lt][a-z]* '"}}, "/")
	must(t, err)
	out, err := s.exec("c1", p)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	contains(t, out, "/slave/later", "/shared/later", "/slave/theirs")
	if strings.Contains(out, "/private/") {
		t.Errorf("mounts reach the private bind:\n%s", out)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if !strings.Contains(string(mounts), filepath.Join(host, "theirs")) {
		t.Error("a mount made in the container does not reach the host through a shared bind")
	}
	must(t, unix.Unmount(filepath.Join(host, "theirs"), unix.MNT_DETACH))
}
