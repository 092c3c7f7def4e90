// Command testshim is containerd's own runc shim with Gantry's exit records,
// for tests of package containerd.
package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

type exits struct{ shim.Publisher }

func (e exits) Publish(ctx context.Context, topic string, ev events.Event) error {
	if x, ok := ev.(*eventstypes.TaskExit); ok && x.ID == x.ContainerID {
		if dir := os.Getenv("GANTRY_EXITS"); dir != "" {
			b, _ := json.Marshal(map[string]any{"id": x.ID, "pid": x.Pid, "code": x.ExitStatus, "at": x.ExitedAt.AsTime()})
			t := filepath.Join(dir, "."+x.ID)
			if os.WriteFile(t, b, 0o600) == nil {
				os.Rename(t, filepath.Join(dir, x.ID+".json"))
			}
		}
	}
	return e.Publisher.Publish(ctx, topic, ev)
}

func main() {
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			pp, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			ss, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return task.NewTaskService(ic.Context, exits{pp.(shim.Publisher)}, ss.(shutdown.Service))
		},
	})
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
}
