package docker_test

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"gantry/tests/busybox"
)

// lines compares what a container printed, line by line.
func lines(t *testing.T, what, got string, want ...string) {
	t.Helper()
	have := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	for i := range max(len(have), len(want)) {
		var h, w string
		if i < len(have) {
			h = have[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if h != w {
			t.Errorf("%s, line %d: got %q, want %q", what, i+1, h, w)
		}
	}
}

func TestRunFlagsOfTheProcess(t *testing.T) {
	t.Parallel()
	d := start(t)
	env := d.Write("env", "FROM_FILE=1\n# no\nOVER=file\n")
	labels := d.Write("labels", "a=file\nb=file\n")
	cid := filepath.Join(d.Dir, "cid")
	out := d.MustDocker("run", "--name", "proc", "-e", "OVER=flag", "-e", "PATH", "--env-file", env, "-w", "/made/for/it", "-u", "12:34", "--group-add", "56",
		"--hostname", "box", "--domainname", "example.org", "--label", "a=flag", "--label-file", labels, "--annotation", "com.example=x", "--cidfile", cid,
		"--ulimit", "nofile=100:200", "--ulimit", "core=0", "--sysctl", "net.ipv4.ip_forward=1", "--sysctl", "kernel.msgmax=4321", "--oom-score-adj", "321",
		"--read-only", "--tmpfs", "/scratch:size=1m,mode=1777", "--shm-size", "2m", "--init", "--stop-signal", "USR1", "--stop-timeout", "7", "--entrypoint", "sh", image,
		"-c", `echo $FROM_FILE $OVER $HOSTNAME; id -u; id -g; id -G; pwd; hostname; cat /proc/sys/kernel/domainname; ulimit -n; ulimit -Hn; ulimit -c
cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/self/oom_score_adj
touch /x 2>&1; touch /scratch/x && df -k /scratch /dev/shm | awk 'NR>1{print $2}'; cat /proc/1/comm`)
	lines(t, "a container with everything", out, "1 flag box", "12", "34", "34 56", "/made/for/it", "box", "example.org", "100", "200", "0",
		"1", "4321", "321", "touch: /x: Read-only file system", "1024", "2048", "docker-init")
	id := inspect(d, "proc", "{{.Id}}")
	if b, err := os.ReadFile(cid); err != nil || string(b) != id {
		t.Errorf("cidfile %q, %v", b, err)
	}
	got := inspect(d, "proc", `{{.Config.Labels.a}} {{.Config.Labels.b}} {{index .HostConfig.Annotations "com.example"}} {{.Config.StopSignal}} {{.Config.StopTimeout}} {{.HostConfig.ShmSize}} {{.HostConfig.Init}}`)
	if got != "flag file x USR1 7 2097152 true" {
		t.Errorf("inspect: %s", got)
	}
}

func TestRunFlagsOfLimits(t *testing.T) {
	t.Parallel()
	d := start(t)
	out := d.MustDocker("run", "--rm", "-m", "40m", "--memory-swap", "60m", "--memory-reservation", "20m", "--memory-swappiness", "30", "--oom-kill-disable",
		"--cpus", "1.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0", "--pids-limit", "33", "--blkio-weight", "300",
		"--device-read-bps", "/dev/loop0:1mb", "--device-write-bps", "/dev/loop0:2mb", "--device-read-iops", "/dev/loop0:10", "--device-write-iops", "/dev/loop0:20", image,
		"sh", "-c", `cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes memory/memory.swappiness
head -1 memory/memory.oom_control; cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares cpuset/cpuset.cpus cpuset/cpuset.mems pids/pids.max
cd blkio; cat blkio.throttle.read_bps_device blkio.throttle.write_bps_device blkio.throttle.read_iops_device blkio.throttle.write_iops_device`)
	lines(t, "limits", out, "41943040", "62914560", "20971520", "30", "oom_kill_disable 1", "150000", "100000", "512", "0", "0", "33",
		"7:0 1048576", "7:0 2097152", "7:0 10", "7:0 20")
	out = d.MustDocker("run", "--rm", "--cpu-period", "50000", "--cpu-quota", "25000", image, "sh", "-c", "cd /sys/fs/cgroup/cpu; cat cpu.cfs_quota_us cpu.cfs_period_us")
	lines(t, "quota and period", out, "25000", "50000")
}

func TestRunFlagsOfRights(t *testing.T) {
	t.Parallel()
	d := start(t)
	profile := d.Write("seccomp.json", `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}`)
	status := `grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | awk '{print $2}'`
	lines(t, "only one capability", d.MustDocker("run", "--rm", "--cap-drop", "ALL", "--cap-add", "CAP_NET_ADMIN", "--security-opt", "no-new-privileges",
		"--security-opt", "seccomp="+profile, image, "sh", "-c", status+"; mkdir /x 2>&1; true"), "0000000000001000", "1", "2", "mkdir: can't create directory '/x': Operation not permitted")
	lines(t, "all but one capability", d.MustDocker("run", "--rm", "--cap-add", "all", "--cap-drop", "sys_admin", "--security-opt", "seccomp=unconfined", image,
		"sh", "-c", status+`; [ $((0x$(grep CapEff /proc/self/status | cut -f2) & 0x200000)) = 0 ] && echo without`), bounding(t, 0x200000), "0", "0", "without")
	lines(t, "the built-in filter", d.MustDocker("run", "--rm", "--security-opt", "seccomp=builtin", image, "sh", "-c", status), "00000000a80425fb", "0", "2")
	lines(t, "hidden paths", d.MustDocker("run", "--rm", image, "sh", "-c", "wc -c < /proc/keys; (echo x > /proc/sys/kernel/core_pattern) 2>&1 | cut -d: -f3-"), "0", " Read-only file system")
	if out := d.MustDocker("run", "--rm", "--security-opt", "systempaths=unconfined", image, "sh", "-c", "grep -c ' /proc/[a-z]' /proc/self/mounts; true"); out != "0\n" {
		t.Errorf("hidden paths with systempaths=unconfined: %q", out)
	}
	lines(t, "devices", d.MustDocker("run", "--rm", "--device", "/dev/fuse:/dev/f:r", "--device", "/dev/net", "--device-cgroup-rule", "c 10:237 r", image,
		"sh", "-c", `stat -c %t:%T /dev/f; ls /dev/net; (echo > /dev/f) 2>&1 | cut -d: -f3-; mknod /a c 10 237; mknod /b c 10 236; : < /a && echo open; (: < /b) 2>&1 | cut -d: -f3-`),
		"a:e5", "tun", " Operation not permitted", "open", " Operation not permitted")
	out := d.MustDocker("run", "--rm", "--privileged", image, "sh", "-c", status+`; [ -c /dev/kmsg ] && [ -b /dev/loop0 ] && mount -t tmpfs x /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs x /mnt && echo mounted`)
	lines(t, "privileged", out, bounding(t, 0), "0", "0", "mounted")
}

func TestRunFlagsOfNamespaces(t *testing.T) {
	t.Parallel()
	d := start(t)
	ns := func(names string) string { return "for n in " + names + "; do readlink /proc/self/ns/$n; done" }
	host := func(name string) string {
		v, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	d.MustDocker("run", "-d", "--name", "owner", "--ipc", "shareable", "--shm-size", "3m", image, "sh", "-c", "echo shared > /dev/shm/note; exec sleep 1000")
	own := strings.Split(d.MustDocker("exec", "owner", "sh", "-c", ns("ipc pid uts")), "\n")
	out := d.MustDocker("run", "--rm", "--ipc", "container:owner", "--pid", "container:owner", "--network", "container:owner", image,
		"sh", "-c", ns("ipc pid")+"; cat /dev/shm/note; hostname; cat /proc/1/comm")
	lines(t, "joined", out, own[0], own[1], "shared", inspect(d, "owner", "{{.Config.Hostname}}"), "sleep")
	out = d.MustDocker("run", "--rm", "--ipc", "host", "--pid", "host", "--uts", "host", "--network", "host", "--cgroupns", "host", "--userns", "host", image, "sh", "-c", ns("ipc pid uts net cgroup user"))
	lines(t, "the host's", out, host("ipc"), host("pid"), host("uts"), host("net"), host("cgroup"), host("user"))
	out = d.MustDocker("run", "--rm", "--ipc", "none", "--cgroupns", "private", "--network", "none", image, "sh", "-c", "ls -d /dev/shm 2>&1; cut -d: -f3 /proc/self/cgroup | sort -u; ls /sys/class/net")
	lines(t, "none", out, "ls: /dev/shm: No such file or directory", "/", "lo")
	parent := "/" + filepath.Base(d.Dir)
	t.Cleanup(func() {
		dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + parent)
		for _, dir := range append(dirs, "/sys/fs/cgroup"+parent) {
			os.Remove(dir)
		}
	})
	out = d.MustDocker("run", "--rm", "--cgroup-parent", parent, image, "sh", "-c", "cut -d: -f3 /proc/self/cgroup | xargs -n1 dirname | sort -u")
	lines(t, "parent", out, parent)
}

func TestRunFlagsThatCannotBe(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, c := range []struct{ flags, says string }{
		{"-m 5m", "Minimum memory limit allowed is 6MB"},
		{"-m 20m --memory-swap 10m", "Minimum memoryswap limit should be larger than memory limit, see usage"},
		{"--memory-swap 10m", "You should always set the Memory limit when using Memoryswap limit, see usage"},
		{"-m 20m --memory-reservation 30m", "Minimum memory limit can not be less than memory reservation limit, see usage"},
		{"--cpus 999", "range of CPUs is from 0.01 to"},
		{"--cpus 1 --cpu-period 5000", "Conflicting options: Nano CPUs and CPU Period cannot both be set"},
		{"--cpuset-cpus 900", "Requested CPUs are not available - requested 900, available: "},
		{"--blkio-weight 5", "Range of blkio weight is from 10 to 1000"},
		{"--device-read-bps /dev/nope:1mb", "/dev/nope"},
		{"--runtime kata", "unknown or invalid runtime name: kata"},
		{"--storage-opt size=1g", "--storage-opt is not supported"},
		{"--isolation hyperv", "invalid isolation 'hyperv' on linux"},
		{"--log-driver syslog", `"syslog"`},
		{"--cap-add FLY", `unknown capability: "CAP_FLY"`},
		{"--security-opt fly=high", `"fly=high"`},
		{"--ipc x", "invalid IPC mode: x"},
		{"--ipc container:nope", "No such container: nope"},
		{"--network container:nope", "No such container: nope"},
		{"--volumes-from nope", "No such container: nope"},
		{"--stop-signal FLY", "invalid signal: FLY"},
		{"--health-cmd x --health-interval 1us", "Interval in Healthcheck cannot be less than 1ms"},
		{"--uts host --hostname x", "conflicting options: hostname and the UTS mode"},
		{"--network host --mac-address 92:d0:c6:0a:29:33", "conflicting options: mac-address and the network mode"},
		{"--oom-score-adj 2000", "Invalid value 2000, range for oom score adj is [-1000, 1000]"},
		{"--device /dev/nope", `error gathering device information while adding custom device "/dev/nope": no such file or directory`},
		{"-u nobodyhere", "unable to find user nobodyhere"},
		{"--group-add notthere", "notthere"},
		{"-w rel", "the working directory 'rel' is invalid, it needs to be an absolute path"},
		{"--entrypoint= ", "no command specified"},
	} {
		args := append([]string{"run", "--rm"}, strings.Fields(c.flags)...)
		args = append(args, image)
		if !strings.HasPrefix(c.flags, "--entrypoint") {
			args = append(args, "true")
		}
		r := d.FailDocker(args...)
		if !strings.Contains(r.Stderr, c.says) || strings.Contains(r.Stderr, "Unable to find image") {
			t.Errorf("%s: %s, want it to say %q", c.flags, r.Stderr, c.says)
		}
	}
	if ids := d.MustDocker("ps", "-aq"); ids != "" {
		t.Errorf("left behind: %s", ids)
	}
	r := d.Docker("run", "--rm", "--network", "host", "-p", "80:80", "--security-opt", "label=type:x", image, "true")
	if r.Code != 0 || !strings.Contains(r.Stderr, "WARNING: Published ports are discarded when using host network mode") || !strings.Contains(r.Stderr, `Label "type:x" discarded`) {
		t.Errorf("warnings: %v", r)
	}
}

func TestRunTellsWhyACommandCannotRun(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"run", "--rm", image, "nope"}, 127, `exec: "nope": executable file not found in $PATH: unknown`},
		{[]string{"run", "--rm", image, "/bin"}, 126, "permission denied"},
		{[]string{"run", "--rm", "--pull", "never", "nope:nope", "x"}, 125, "No such image: nope:nope"},
		{[]string{"exec", "cc", "nope"}, 127, `exec: "nope": executable file not found in $PATH`},
		{[]string{"exec", "cc", "/bin"}, 126, "permission denied"},
	} {
		if c.args[0] == "exec" && d.MustDocker("ps", "-q") == "" {
			d.MustDocker("run", "-d", "--name", "cc", image, "sleep", "1000")
		}
		if r := d.Docker(c.args...); r.Code != c.code || !strings.Contains(r.Stdout+r.Stderr, c.says) {
			t.Errorf("%v: %v, want code %d and %q", c.args, r, c.code, c.says)
		}
	}
	d.MustDocker("create", "--name", "stays", image, "nope")
	d.FailDocker("start", "stays")
	if got := inspect(d, "stays", "{{.State.Status}} {{.State.ExitCode}}"); got != "created 127" {
		t.Errorf("a container that cannot start is %q", got)
	}
}

func TestRunTakesFromTheImageWhatIsNotGiven(t *testing.T) {
	t.Parallel()
	d := start(t)
	retries := busybox.Healthcheck{Test: []string{"CMD-SHELL", "true"}, Retries: 7}
	d.Busybox("full:test", busybox.Entrypoint("echo", "entry"), busybox.Cmd("cmd"), busybox.Env("A=image", "B=image"), busybox.User("daemon:7"), busybox.WorkingDir("/srv/app"),
		busybox.Volumes("/data"), busybox.Expose("81/tcp"), busybox.Label("l", "image"), busybox.Health(retries),
		busybox.Configure(func(c *busybox.Config) { c.StopSignal = "SIGINT"; c.Shell = []string{"/bin/sh", "-ec"} }),
		busybox.Layer(busybox.File{Path: "/etc/passwd", Body: "root:x:0:0::/root:/bin/sh\ndaemon:x:2:3::/home/d:/bin/sh\n"}, busybox.File{Path: "/data/seed", Body: "seed"}))
	lines(t, "entrypoint and command", d.MustDocker("run", "--rm", "full:test"), "entry cmd")
	lines(t, "another command", d.MustDocker("run", "--rm", "full:test", "mine"), "entry mine")
	lines(t, "another entrypoint drops the command", d.MustDocker("run", "--rm", "--entrypoint", "echo", "full:test"), "")
	lines(t, "no entrypoint", d.MustDocker("run", "--rm", "--entrypoint", "", "-e", "B=mine", "full:test", "sh", "-c", `echo $A $B $HOME; id -u; id -g; pwd; cat /data/seed; echo; grep -c ' /data ' /proc/mounts`),
		"image mine /home/d", "2", "7", "/srv/app", "seed", "1")
	d.MustDocker("create", "--name", "cc", "--health-interval", "9s", "--label", "m=mine", "full:test")
	got := inspect(d, "cc", `{{.Config.Labels.l}} {{.Config.Labels.m}} {{.Config.StopSignal}} {{.Config.Shell}} {{.Config.Healthcheck.Test}} {{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.Interval}} {{.Config.ExposedPorts}} {{(index .Mounts 0).Destination}} {{.Config.User}}`)
	if want := "image mine SIGINT [/bin/sh -ec] [CMD-SHELL true] 7 9s map[81/tcp:{}] /data daemon:7"; got != want {
		t.Errorf("merged:\n got %s\nwant %s", got, want)
	}
	d.MustDocker("run", "-d", "--name", "none", "--no-healthcheck", "--entrypoint", "sleep", "full:test", "1000")
	if got := inspect(d, "none", "{{.Config.Healthcheck.Test}} {{.State.Health}}"); got != "[NONE] <nil>" {
		t.Errorf("without health check: %s", got)
	}
}

func TestRunFlagsOfHealth(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "hh", "--health-cmd", "echo probed; cat /ok", "--health-interval", "100ms", "--health-timeout", "9s", "--health-retries", "2",
		"--health-start-period", "50ms", "--health-start-interval", "20ms", image, "sh", "-c", "touch /ok; sleep 1000")
	health := func(status string) {
		t.Helper()
		// the event is kept: it may have come already
		cmd := d.DockerCommand(d.Dir, "events", "--since", "10m", "--filter", "container=hh", "--filter", "event=health_status: "+status, "--format", "{{.Action}}")
		firstLine(t, cmd, "health_status: "+status)
	}
	health("healthy")
	if got := inspect(d, "hh", "{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{(index .State.Health.Log 0).Output}}"); !strings.HasPrefix(got, "healthy 0 probed") {
		t.Errorf("healthy: %s", got)
	}
	d.MustDocker("exec", "hh", "rm", "/ok")
	health("unhealthy")
	got := inspect(d, "hh", "{{.State.Health.Status}} {{range .State.Health.Log}}{{.ExitCode}}{{.Output}}{{end}}")
	if !strings.HasPrefix(got, "unhealthy") || !strings.Contains(got, "1probed\ncat: can't open '/ok'") {
		t.Errorf("unhealthy: %s", got)
	}
	got = inspect(d, "hh", "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Timeout}} {{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.StartPeriod}} {{.Config.Healthcheck.StartInterval}}")
	if got != "100ms 9s 2 50ms 20ms" {
		t.Errorf("health check: %s", got)
	}
}

// What the command line offers is in the documentation, done or refused.
func TestEveryRunFlagIsDocumented(t *testing.T) {
	t.Parallel()
	d := start(t)
	b, err := os.ReadFile("../../docs/run-flags.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\|[^|]*`(--[a-z0-9-]+)`[^|]*\\| (done|refused|–) \\|").FindAllStringSubmatch(string(b), -1)
	documented := map[string]bool{}
	for _, row := range rows {
		documented[row[1]] = true
	}
	flags := regexp.MustCompile(`(?m)^ +(?:-[a-zA-Z], )?(--[a-z0-9-]+) `).FindAllStringSubmatch(d.MustDocker("run", "--help"), -1)
	if len(flags) < 90 {
		t.Fatalf("only %d flags by --help", len(flags))
	}
	for _, f := range flags {
		if !documented[f[1]] {
			t.Errorf("docs/run-flags.md says nothing of %s", f[1])
		}
	}
}

func TestRunOfAnImageForAnotherPlatform(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.Busybox("foreign:test", busybox.Arch("s390x")) // its program is this host's all the same
	r := d.Docker("run", "--rm", "foreign:test", "echo", "runs")
	if r.Stdout != "runs\n" || !strings.Contains(r.Stderr, "The requested image's platform (linux/s390x) does not match the detected host platform") {
		t.Errorf("no platform asked for: %v", r)
	}
	own := "linux/" + runtime.GOARCH
	if r := d.FailDocker("run", "--rm", "--pull", "never", "--platform", own, "foreign:test", "true"); !strings.Contains(r.Stderr, "does not provide the specified platform ("+own+")") {
		t.Errorf("the host's platform: %v", r)
	}
	d.MustDocker("run", "--rm", "--platform", own, image, "true")
	if got := d.MustDocker("run", "--rm", "--platform", "linux/s390x", "foreign:test", "echo", "asked for"); got != "asked for\n" {
		t.Errorf("the image's platform: %q", got)
	}
}
