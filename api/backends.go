package api

import (
	"gantry/engine"
	"gantry/scheduler"
)

// backends are what the routes call. All are required.
type backends struct {
	lifecycle   lifecycle
	control     control
	inspector   inspector
	updater     updater
	meter       meter
	logs        logSource
	attacher    attacher
	execs       execs
	files       fileStore
	images      imageStore
	imageSource imageSource
	archives    imageArchives
	pusher      imagePusher
	registries  registries
	disk        diskUsage
	volumes     volumeStore
	networks    networkStore
	networker   networker
	events      eventSource
	host        host
	projects    projectStore
	driver      scheduler.Driver
	builds      buildServer
	builder     imageBuilder
}

// NewServer returns a server of the whole API over e. Version is the daemon's
// own, as clients show it.
func NewServer(e *engine.Engine, version string) *Server {
	return newServer(newHandler(backends{
		lifecycle: e, control: e, inspector: e, updater: e, meter: e, logs: e, attacher: e, execs: e, files: e, images: e, imageSource: e, archives: e, pusher: e, registries: e, disk: e,
		volumes: e, networks: e, networker: e, events: e, host: e, projects: e, driver: e, builds: e, builder: e,
	}, version))
}
