package api

import (
	"context"
	"fmt"
	"io"
	"time"

	"gantry/engine"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	buildtypes "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/api/types/volume"
)

// refuser answers everything with one error. Tests put what they need in the
// place of its parts.
type refuser struct{ err error }

func refusing() backends {
	return refusingWith(fmt.Errorf("nothing is here: %w", errdefs.ErrUnavailable))
}

func refusingWith(err error) backends {
	r := refuser{err}
	return backends{lifecycle: r, control: r, inspector: r, updater: r, meter: r, logs: r, attacher: r, execs: r, files: r, images: r, imageSource: r, archives: r, pusher: r, registries: r, disk: r,
		volumes: r, networks: r, networker: r, events: r, host: r, projects: r, driver: r, builder: r}
}

func (r refuser) BuildClassic(context.Context, engine.ClassicBuild) (string, error) { return "", r.err }
func (r refuser) UploadContext(context.Context, string, io.Reader) error            { return r.err }
func (r refuser) CancelBuild(string)                                                {}
func (r refuser) PruneBuildCache(context.Context, engine.Filters, engine.CacheRules) (buildtypes.CachePruneReport, error) {
	return buildtypes.CachePruneReport{}, r.err
}

func (r refuser) CreateContainer(context.Context, string, string, container.CreateRequest) (container.CreateResponse, error) {
	return container.CreateResponse{}, r.err
}
func (r refuser) StartContainer(context.Context, string) error                       { return r.err }
func (r refuser) StopContainer(context.Context, string, engine.StopOptions) error    { return r.err }
func (r refuser) RestartContainer(context.Context, string, engine.StopOptions) error { return r.err }
func (r refuser) RemoveContainer(context.Context, string, engine.RemoveOptions) error {
	return r.err
}
func (r refuser) KillContainer(context.Context, string, string) error   { return r.err }
func (r refuser) PauseContainer(context.Context, string) error          { return r.err }
func (r refuser) UnpauseContainer(context.Context, string) error        { return r.err }
func (r refuser) RenameContainer(context.Context, string, string) error { return r.err }
func (r refuser) WaitContainer(context.Context, string, container.WaitCondition) (<-chan container.WaitResponse, error) {
	return nil, r.err
}
func (r refuser) ListContainers(context.Context, engine.ListOptions) ([]container.Summary, error) {
	return nil, r.err
}
func (r refuser) StatsContainer(context.Context, string) (<-chan container.StatsResponse, error) {
	return nil, r.err
}

func (r refuser) StatsContainerOnce(context.Context, string, bool) (container.StatsResponse, error) {
	return container.StatsResponse{}, r.err
}

func (r refuser) SizeContainer(context.Context, string) (int64, int64, error) { return 0, 0, r.err }

func (r refuser) PruneContainers(context.Context, engine.Filters) (container.PruneReport, error) {
	return container.PruneReport{}, r.err
}

func (r refuser) InspectContainer(context.Context, string) (container.InspectResponse, error) {
	return container.InspectResponse{}, r.err
}
func (r refuser) UpdateContainer(context.Context, string, container.UpdateConfig) (container.UpdateResponse, error) {
	return container.UpdateResponse{}, r.err
}
func (r refuser) TopContainer(context.Context, string, []string) (container.TopResponse, error) {
	return container.TopResponse{}, r.err
}
func (r refuser) ContainerLogs(context.Context, string, engine.LogOptions) (engine.LogReader, bool, error) {
	return nil, false, r.err
}
func (r refuser) AttachContainer(context.Context, string) (*engine.Stream, error) { return nil, r.err }
func (r refuser) ResizeContainer(context.Context, string, uint, uint) error       { return r.err }
func (r refuser) CreateExec(context.Context, string, container.ExecCreateRequest) (string, error) {
	return "", r.err
}
func (r refuser) CheckExec(context.Context, string) error { return r.err }
func (r refuser) StartExec(context.Context, string, engine.ExecStart) (*engine.Stream, error) {
	return nil, r.err
}
func (r refuser) ResizeExec(context.Context, string, uint, uint) error { return r.err }
func (r refuser) InspectExec(context.Context, string) (container.ExecInspectResponse, error) {
	return container.ExecInspectResponse{}, r.err
}
func (r refuser) ListImages(context.Context, engine.ImageListOptions) ([]image.Summary, error) {
	return nil, r.err
}
func (r refuser) InspectImage(context.Context, string, engine.ImageInspectOptions) (image.InspectResponse, error) {
	return image.InspectResponse{}, r.err
}
func (r refuser) TagImage(context.Context, string, string) error { return r.err }
func (r refuser) RemoveImage(context.Context, string, engine.ImageRemoveOptions) ([]image.DeleteResponse, error) {
	return nil, r.err
}
func (r refuser) PruneImages(context.Context, engine.Filters) (image.PruneReport, error) {
	return image.PruneReport{}, r.err
}
func (r refuser) PullImage(context.Context, string, string, engine.Auth, func(engine.Progress)) error {
	return r.err
}
func (r refuser) PushImage(context.Context, string, string, engine.Auth, func(engine.Progress), func(engine.PushedImage)) error {
	return r.err
}
func (r refuser) Login(context.Context, string, engine.Auth) (registry.AuthResponse, error) {
	return registry.AuthResponse{}, r.err
}
func (r refuser) SearchImages(context.Context, string, int, engine.Filters, engine.Auth) ([]registry.SearchResult, error) {
	return nil, r.err
}
func (r refuser) InspectDistribution(context.Context, string, engine.Auth) (registry.DistributionInspect, error) {
	return registry.DistributionInspect{}, r.err
}
func (r refuser) RepositoryTags(context.Context, string, engine.Auth) ([]string, error) {
	return nil, r.err
}
func (r refuser) ImageHistory(context.Context, string, string) ([]image.HistoryResponseItem, error) {
	return nil, r.err
}
func (r refuser) ImageAttestations(context.Context, string, engine.AttestationOptions) ([]image.AttestationStatement, error) {
	return nil, r.err
}
func (r refuser) LoadImages(context.Context, io.Reader, []string, func(engine.Progress)) ([]engine.LoadedImage, error) {
	return nil, r.err
}
func (r refuser) SaveImages(context.Context, []string, []string) (func(io.Writer) error, error) {
	return nil, r.err
}
func (r refuser) ImportImage(context.Context, io.Reader, engine.ImportOptions, func(engine.Progress)) (string, error) {
	return "", r.err
}
func (r refuser) DiskUsage(context.Context, []system.DiskUsageObject) (system.DiskUsage, error) {
	return system.DiskUsage{}, r.err
}
func (r refuser) CommitContainer(context.Context, string, engine.CommitOptions) (string, error) {
	return "", r.err
}
func (r refuser) CreateVolume(context.Context, volume.CreateRequest) (volume.Volume, error) {
	return volume.Volume{}, r.err
}
func (r refuser) ListVolumes(context.Context, engine.Filters) ([]volume.Volume, error) {
	return nil, r.err
}
func (r refuser) InspectVolume(context.Context, string) (volume.Volume, error) {
	return volume.Volume{}, r.err
}
func (r refuser) RemoveVolume(context.Context, string, bool) error { return r.err }
func (r refuser) CreateNetwork(context.Context, network.CreateRequest) (network.CreateResponse, error) {
	return network.CreateResponse{}, r.err
}
func (r refuser) ListNetworks(context.Context, engine.Filters) ([]network.Summary, error) {
	return nil, r.err
}
func (r refuser) InspectNetwork(context.Context, string) (network.Inspect, error) {
	return network.Inspect{}, r.err
}
func (r refuser) ConnectNetwork(context.Context, string, network.ConnectRequest) error { return r.err }

func (r refuser) DisconnectNetwork(context.Context, string, network.DisconnectRequest) error {
	return r.err
}

func (r refuser) PruneNetworks(context.Context, engine.Filters) (network.PruneReport, error) {
	return network.PruneReport{}, r.err
}

func (r refuser) PruneVolumes(context.Context, engine.Filters) (volume.PruneReport, error) {
	return volume.PruneReport{}, r.err
}

func (r refuser) RemoveNetwork(context.Context, string) error { return r.err }
func (r refuser) Events(context.Context, time.Time, time.Time, engine.Filters) (<-chan events.Message, error) {
	return nil, r.err
}
func (r refuser) Info(context.Context) (system.Info, error) { return system.Info{}, r.err }
func (r refuser) Components() []engine.Component            { return nil }
func (r refuser) LockProject(context.Context, string, string, func(string)) (func(), error) {
	return nil, r.err
}
func (r refuser) SaveProject(*project.Project) error           { return r.err }
func (r refuser) LoadProject(string) (*project.Project, error) { return nil, r.err }
func (r refuser) ForgetProject(string) error                   { return r.err }
func (r refuser) Observe(context.Context, scheduler.Query) (*scheduler.State, error) {
	return nil, r.err
}
func (r refuser) Apply(context.Context, scheduler.Action, func(scheduler.Progress)) error {
	return r.err
}
