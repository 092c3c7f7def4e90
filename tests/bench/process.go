package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is the CPU time that a process has used, user and system, to the
// nanosecond. What /proc/<pid>/stat tells of it is rounded to 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	// A process's clock as clock_getcpuclockid(3) makes it: the pid's
	// complement and 2, the scheduler's count.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|2, &ts); err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// usage is a process's memory in KiB.
type usage struct {
	rss int // all pages
	pss int // shared pages counted by their share
}

func memoryOf(pids ...int) (u usage, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return u, err
		}
		for _, l := range strings.Split(string(b), "\n") {
			var kib int
			if n, _ := fmt.Sscanf(l, "Rss: %d kB", &kib); n == 1 {
				u.rss += kib
			}
			if n, _ := fmt.Sscanf(l, "Pss: %d kB", &kib); n == 1 {
				u.pss += kib
			}
		}
	}
	return u, nil
}
