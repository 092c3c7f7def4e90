package scheduler

import (
	"context"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Driver observes and changes a runtime. The engine implements it; so does the
// in-memory machine that the property tests run against.
type Driver interface {
	// Observe returns one snapshot of all that a plan for q can depend on.
	Observe(ctx context.Context, q Query) (*State, error)
	// Apply carries one action out. report may be called with progress while it
	// runs; it never blocks.
	Apply(ctx context.Context, a Action, report func(Progress)) error
}

// Query names what Build needs to know besides the project's own objects.
type Query struct {
	Project  string
	Images   []ImageQuery // images that the project's services use
	Networks []string     // by runtime name, external ones included
	Volumes  []string     // by runtime name, external ones included
	Ports    []HostPort   // fixed host ports that the services publish
	Binds    []string     // bind sources that must exist already (no create_host_path)
	// Containers are names that must be free or the project's own
	// (container_name), and container:NAME targets.
	Containers []string
}

// ImageQuery asks for an image; Remote also asks its registry, when it is not
// present, whether it can be had, so that a missing image is found before
// anything is changed. Stale, when set, asks the registry for its digest even
// of a present image, if that was last pulled before this moment.
type ImageQuery struct {
	Ref, Platform string
	Remote        bool
	Stale         time.Time
}

// Key is where State.Images has the answer.
func (q ImageQuery) Key() string {
	if q.Platform == "" {
		return q.Ref
	}
	return q.Ref + " " + q.Platform
}

// HostPort is one published port on the host. IP "" is every address.
type HostPort struct {
	IP       string
	Port     uint16
	Protocol string // tcp or udp
}

// State is what the runtime looks like, at one moment.
type State struct {
	Containers []Container          // the project's, one-off and orphans included, sorted by ID
	Networks   map[string]Network   // by name: the project's by label, and those asked for that exist
	Volumes    map[string]Volume    // by name: likewise
	Images     map[string]Image     // by the query's Key; always an entry for each asked
	Busy       map[HostPort]string  // ports that cannot be bound, by whom ("container x", "another process"); the project's own containers' do not count
	Missing    []string             // bind sources that do not exist
	Names      map[string]Container // asked-for container names that exist, of any project
}

// Container is one observed container.
type Container struct {
	ID, Name string
	Project  string
	Service  string
	Number   int
	OneOff   bool
	Hash     string // its config-hash label
	ImageRef string // as it was created
	ImageID  string
	Status   container.ContainerState // created, running, paused, restarting, exited, removing, dead
	Health   container.HealthStatus   // "", none, starting, healthy, unhealthy
	ExitCode int
	// Networks maps the networks that it is on, also while it is stopped, to
	// their IDs; "" when it gets its place there only as it starts.
	Networks map[string]string
	Ports    []HostPort // fixed host ports that it publishes while it runs
	// Anonymous maps a mount's target to the name of the anonymous volume there.
	Anonymous map[string]string
	// Files maps the targets of its secrets and configs to project.Content.Digest
	// of what they hold.
	Files map[string]string
	// Owes is how many of its post_start hooks have not been done since a plan
	// started it: one failed, or the plan broke off.
	Owes                          int
	DependsOn                     string // its depends_on label: service:condition:restart,…
	Config                        container.Config
	NetworkMode, PidMode, IpcMode string   // as created, with container:ID resolved
	VolumesFrom                   []string // as created: ID or ID:MODE
}

// Network is one observed network.
type Network struct {
	ID, Name string
	Project  string // "" when it is not a project's
	Key      string
	Hash     string // its config-hash label
	Internal bool
	IPAM     network.IPAM
	Users    []string // IDs of containers attached to it
}

// Volume is one observed volume.
type Volume struct {
	Name      string
	Project   string
	Key       string
	Hash      string
	Anonymous bool
	Users     []string // IDs of containers that mount it, stopped ones too
}

// Image is what is known about a reference.
type Image struct {
	ID     string    // digest of the local image, "" when there is none
	Pulled time.Time // when it was last pulled
	// Remote is the digest that the registry has now, comparable with ID; only
	// for images asked with Stale, "" when it was not asked.
	Remote string
	// Err says why the registry cannot give it; only for images whose registry
	// was asked.
	Err      error
	Volumes  []string // targets that the image declares as volumes
	HasProbe bool     // the image declares a health check
}

// Progress is how far a running action is. Total 0 means unknown.
type Progress struct {
	ID      string `json:"id,omitempty"` // a part of the action, such as a layer's digest
	Text    string `json:"text,omitempty"`
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
}
