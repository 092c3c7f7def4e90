package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
)

// hostCPU is how long all of the host's CPUs have worked or idled since boot,
// in nanoseconds, and how many there are. Containers' times are shown as
// shares of it.
func hostCPU() (total uint64, online int, err error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("CPU time of the host: %w", err)
	}
	return parseHostCPU(b)
}

// tick is the unit of /proc/stat, in nanoseconds: USER_HZ is 100 on all of
// Linux's architectures that containers run on.
const tick = 1e9 / 100

// parseHostCPU reads /proc/stat. Source: proc_stat(5).
func parseHostCPU(b []byte) (total uint64, online int, err error) {
	found := false
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0 || !strings.HasPrefix(f[0], "cpu"):
		case f[0] == "cpu" && len(f) > 7:
			found = true
			for _, v := range f[1:8] { // guests' time is part of user's already
				n, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					return 0, 0, fmt.Errorf("CPU time of the host: %q: %w", strings.TrimSpace(line), err)
				}
				total += n * tick
			}
		case f[0] != "cpu":
			online++
		}
	}
	if !found {
		return 0, 0, fmt.Errorf("CPU time of the host: /proc/stat has no line \"cpu\"")
	}
	return total, online, nil
}

// fallbackDevices are interfaces that the kernel makes by itself in every
// network namespace when a tunnel's module is loaded. Source: fb_tunnels_only_for_init_net.
var fallbackDevices = []string{"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}

// processTraffic counts what a process's network interfaces have carried;
// nothing when the process is gone.
func processTraffic(pid int) map[string]container.NetworkStats {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/dev", pid))
	if err != nil {
		return nil
	}
	return parseTraffic(b)
}

// parseTraffic reads /proc/PID/net/dev. Source: proc_pid_net(5).
func parseTraffic(b []byte) map[string]container.NetworkStats {
	out := map[string]container.NetworkStats{}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		name, counters, ok := strings.Cut(lines.Text(), ":")
		name = strings.TrimSpace(name)
		if !ok || slices.Contains(fallbackDevices, name) {
			continue
		}
		var n [12]uint64
		f := strings.Fields(counters)
		if len(f) < len(n) {
			continue
		}
		for i := range n {
			n[i], _ = strconv.ParseUint(f[i], 10, 64)
		}
		out[name] = container.NetworkStats{
			RxBytes: n[0], RxPackets: n[1], RxErrors: n[2], RxDropped: n[3],
			TxBytes: n[8], TxPackets: n[9], TxErrors: n[10], TxDropped: n[11],
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
