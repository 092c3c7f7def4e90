// Command gantry-shim runs and keeps a group's containers: containerd's runc
// shim, which also writes the containers' logs, lets clients attach, and leaves
// exit codes on disk. It works on while the daemon is away.
//
// Called as "gantry-shim init -- COMMAND", or as docker-init or gantry-init, it
// is a container's first process instead; see package pid1.
package main

import (
	"context"
	"os"

	_ "gantry/cmd/gantry-shim/leftover" // these take over before anything else is set up
	_ "gantry/cmd/gantry-shim/pid1"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// exitsEnv names the directory where exit files are written; see exit.go.
const exitsEnv = "GANTRY_EXITS"

func main() {
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			events, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			sd, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return newTaskService(ic.Context, events.(shim.Publisher), sd.(shutdown.Service))
		},
	})
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
}

func newTaskService(ctx context.Context, events shim.Publisher, sd shutdown.Service) (*service, error) {
	procs := newProcesses()
	p := newPublisher(events, procs, os.Getenv(exitsEnv))
	sd.RegisterCallback(p.flush)
	sd.RegisterCallback(removeSockets())
	inner, err := task.NewTaskService(ctx, p, sd)
	if err != nil {
		return nil, err
	}
	return newService(inner, procs), nil
}
