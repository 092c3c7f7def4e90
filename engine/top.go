package engine

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

// TopContainer lists a container's processes as the host's ps shows them.
func (e *Engine) TopContainer(ctx context.Context, ref string, psArgs []string) (container.TopResponse, error) {
	c, err := e.find(ref)
	if err != nil {
		return container.TopResponse{}, err
	}
	if _, err := c.current(); err != nil {
		return container.TopResponse{}, err
	}
	pids, err := e.rt.Pids(ctx, c.id)
	if err != nil {
		return container.TopResponse{}, err
	}
	if len(psArgs) == 0 {
		psArgs = []string{"-ef"}
	}
	out, err := exec.CommandContext(ctx, "ps", psArgs...).CombinedOutput()
	if err != nil {
		return container.TopResponse{}, fmt.Errorf("ps %s: %s: %w", strings.Join(psArgs, " "), strings.TrimSpace(string(out)), errdefs.ErrInvalidArgument)
	}
	e.emitContainer(c, events.ActionTop, nil)
	return parseTop(string(out), pids)
}

// parseTop keeps those lines of ps that are about pids.
func parseTop(out string, pids []int) (container.TopResponse, error) {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	r := container.TopResponse{Titles: strings.Fields(lines[0]), Processes: [][]string{}}
	at := slices.Index(r.Titles, "PID")
	if at < 0 {
		return r, fmt.Errorf("Couldn't find PID field in ps output: %w", errdefs.ErrInvalidArgument)
	}
	for _, l := range lines[1:] {
		f := strings.Fields(l)
		if len(f) <= at {
			continue
		}
		if pid, err := strconv.Atoi(f[at]); err != nil || !slices.Contains(pids, pid) {
			continue
		}
		if n := len(r.Titles); len(f) > n { // the last column is a command with its arguments
			f = append(f[:n-1:n-1], strings.Join(f[n-1:], " "))
		}
		r.Processes = append(r.Processes, f)
	}
	return r, nil
}
