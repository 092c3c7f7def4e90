package docker_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
)

// limits prints a container's limits from its cgroup.
const limits = `cd /sys/fs/cgroup && cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes ` +
	`cpu/cpu.shares cpu/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max`

func TestUpdateChangesLimitsNowAndForTheNextStart(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "aa", "-m", "50m", "--pids-limit", "20", image, "sleep", "1000")
	check := func(when string, want ...string) {
		t.Helper()
		if got := strings.Fields(d.MustDocker("exec", "aa", "sh", "-c", limits)); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: got %v, want %v", when, got, want)
		}
	}
	const mib = "1048576"
	if got := inspect(d, "aa", "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}"); got != "52428800 104857600" {
		t.Errorf("limits by inspect: %s", got)
	}
	d.MustDocker("update", "-m", "64m", "--memory-swap", "96m", "--memory-reservation", "16m", "--cpus", "0.5", "--cpu-shares", "300", "--cpuset-cpus", "0", "--pids-limit", "-1", "aa")
	check("running", "67108864", "100663296", "16777216", "300", "50000", "0", "max")

	r := d.FailDocker("update", "-m", "200m", "aa")
	if !strings.Contains(r.Stderr, "Memory limit should be smaller than already set memoryswap limit") {
		t.Errorf("memory above swap: %v", r)
	}
	r = d.FailDocker("update", "--cpu-period", "50000", "aa")
	if !strings.Contains(r.Stderr, "Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set") {
		t.Errorf("period over cpus: %v", r)
	}
	r = d.FailDocker("update", "-m", "1m", "aa")
	if !strings.Contains(r.Stderr, "Minimum memory limit allowed is 6MB") {
		t.Errorf("little memory: %v", r)
	}
	check("after refusals", "67108864", "100663296", "16777216", "300", "50000", "0", "max")

	d.MustDocker("stop", "-t", "0", "aa")
	d.MustDocker("update", "--cpu-shares", "77", "--pids-limit", "9", "aa")
	d.Stop()
	d.Launch() // what was changed is on disk
	d.MustDocker("start", "aa")
	check("after another start", "67108864", "100663296", "16777216", "77", "50000", "0", "9")
	if got := inspect(d, "aa", "{{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}"); got != "77 9 500000000" {
		t.Errorf("limits by inspect: %s", got)
	}
}

func TestUpdateOfTheRestartPolicy(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "aa", image, "sh", "-c", "trap 'exit 3' TERM; sleep 1000 & wait")
	d.MustDocker("update", "--restart", "on-failure:3", "aa")
	if got := inspect(d, "aa", "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}"); got != "on-failure:3" {
		t.Errorf("policy %s", got)
	}
	pid := inspect(d, "aa", "{{.State.Pid}}")
	d.Docker("exec", "aa", "kill", "-TERM", "1") // which may end with the container before it can say so
	harness.Eventually(t, "the new policy starts it again", func() error {
		if got := inspect(d, "aa", "{{.RestartCount}} {{.State.Running}} {{.State.Pid}}"); !strings.HasPrefix(got, "1 true ") || strings.HasSuffix(got, " "+pid) {
			return fmt.Errorf("it is %q", got)
		}
		return nil
	})
	d.MustDocker("run", "-d", "--rm", "--name", "bb", image, "sleep", "1000")
	if r := d.FailDocker("update", "--restart", "always", "bb"); !strings.Contains(r.Stderr, "AutoRemove is enabled for the container") {
		t.Errorf("policy with --rm: %v", r)
	}
	if r := d.FailDocker("update", "--restart", "sometimes", "aa"); !strings.Contains(r.Stderr, "unknown policy 'sometimes'") {
		t.Errorf("unknown policy: %v", r)
	}
	if out := d.MustDocker("events", "--since", "10m", "--until", time.Now().Format(time.RFC3339Nano), "--filter", "event=update", "--format", "{{.Actor.Attributes.name}}"); out != "aa\n" {
		t.Errorf("events %q", out)
	}
}
