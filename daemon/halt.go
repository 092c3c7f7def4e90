package daemon

import (
	"context"
	"strings"
	"time"

	"gantry/engine"

	"github.com/containerd/log"
	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/util"
)

const (
	// haltEnd bounds how long containers may take to end when the host goes down.
	// It is less than what the unit gives the daemon, TimeoutStopSec.
	haltEnd = 4*time.Minute + 30*time.Second
	// askEnd bounds the question to systemd.
	askEnd = 5 * time.Second
)

// hostGoesDown tells whether systemd is about to power the host off or to reboot
// it. On hosts without it, containers end with all processes.
func hostGoesDown(ctx context.Context) bool {
	if !util.IsRunningSystemd() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askEnd)
	defer cancel()
	systemd, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("whether the host goes down is not known: containers are left to run")
		return false
	}
	defer systemd.Close()
	state, err := systemd.SystemStateContext(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Warn("whether the host goes down is not known: containers are left to run")
		return false
	}
	return strings.Contains(state.Value.String(), "stopping")
}

func halt(ctx context.Context, eng *engine.Engine) {
	ctx, cancel := context.WithTimeout(ctx, haltEnd)
	defer cancel()
	if err := eng.Halt(ctx); err != nil {
		log.G(ctx).WithError(err).Warn("not all containers have ended by themselves")
	}
}
