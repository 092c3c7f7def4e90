// Package project turns compose files into a Project: the desired state, fully
// resolved, hashed, acyclic and expressed in the Engine API's vocabulary.
package project

import (
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// Labels that tie containers, networks and volumes to a project. They are
// Docker Compose's, so that other tools see the projects.
const (
	LabelProject     = "com.docker.compose.project"
	LabelService     = "com.docker.compose.service"
	LabelNumber      = "com.docker.compose.container-number"
	LabelHash        = "com.docker.compose.config-hash"
	LabelOneOff      = "com.docker.compose.oneoff"
	LabelImage       = "com.docker.compose.image"
	LabelConfigFiles = "com.docker.compose.project.config_files"
	LabelWorkingDir  = "com.docker.compose.project.working_dir"
	LabelEnvFile     = "com.docker.compose.project.environment_file"
	LabelDependsOn   = "com.docker.compose.depends_on"
	LabelReplace     = "com.docker.compose.replace"
	LabelVersion     = "com.docker.compose.version"
	LabelNetwork     = "com.docker.compose.network"
	LabelVolume      = "com.docker.compose.volume"
)

// Project is the desired state of one compose project. It travels as JSON from
// the CLI to the daemon and is kept there as what was last asked for.
type Project struct {
	Name        string    `json:"name"`
	WorkingDir  string    `json:"workingDir"`
	ConfigFiles []string  `json:"configFiles,omitempty"`
	EnvFiles    []string  `json:"envFiles,omitempty"`
	Services    []Service `json:"services"` // active ones (profiles and selection applied), sorted by name
	Networks    []Network `json:"networks"` // those that an active service uses, sorted by key
	Volumes     []Volume  `json:"volumes"`  // those that an active service uses, sorted by key
	// Disabled names the services that the files define and that are not
	// active, sorted: their containers are not orphans.
	Disabled []string `json:"disabled,omitempty"`
}

// Service is one service in the Engine API's terms.
//
// Config carries the user's labels and Docker Compose's project, service,
// config-hash, depends_on, config_files and working_dir labels; number, one-off
// and image labels belong to a single container and are added by the planner.
// HostConfig.Mounts names volumes as the runtime knows them (project prefix
// applied). HostConfig.NetworkMode is "bridge", "host", "none",
// "service:NAME", "container:NAME" or, with Networks set, the first network's
// name. HostConfig.PidMode and IpcMode may be "service:NAME" too, and
// HostConfig.VolumesFrom has "service:NAME" or "service:NAME:MODE".
type Service struct {
	Name          string               `json:"name"`
	ContainerName string               `json:"containerName,omitempty"` // set by container_name; else PROJECT-SERVICE-N
	Image         string               `json:"image"`                   // as the user wrote it, else what is built
	ImageGiven    bool                 `json:"imageGiven,omitempty"`    // by the user; else it is PROJECT-SERVICE
	Build         *Build               `json:"build,omitempty"`         // nil: the image is not built
	PullPolicy    PullPolicy           `json:"pullPolicy,omitempty"`
	PullEvery     time.Duration        `json:"pullEvery,omitempty"` // with PullRefresh: pull when the last pull is older
	Platform      string               `json:"platform,omitempty"`
	Replicas      int                  `json:"replicas"`
	Config        container.Config     `json:"config"`
	HostConfig    container.HostConfig `json:"hostConfig"`
	Files         []File               `json:"files,omitempty"`    // secrets, then configs, that are not HostConfig.Mounts
	Networks      []Attachment         `json:"networks,omitempty"` // highest priority first, then by key
	PostStart     []Hook               `json:"postStart,omitempty"`
	PreStop       []Hook               `json:"preStop,omitempty"`
	Watch         []Watch              `json:"-"`                   // what changes of files lead to
	Quiet         bool                 `json:"quiet,omitempty"`     // attach: false
	DependsOn     []Dependency         `json:"dependsOn,omitempty"` // sorted by service; includes those implied by service: modes and volumes_from
	Hash          string               `json:"hash"`                // of all that makes a running container out of date, the content of Files excepted; not of replicas, pull policy or depends_on
	Source        Position             `json:"source"`              // where the service's key stands
	// Positions gives file, line and column of the service's keys and list
	// items by their path below the service, such as "image", "ports.0",
	// "volumes.1", "networks.front"; a published port also as "ports.8080/tcp".
	Positions map[string]Position `json:"positions,omitempty"`
}

// PullPolicy says when a service's image is pulled. Source: compose
// specification, services, pull_policy.
type PullPolicy string

const (
	PullMissing PullPolicy = "missing" // the default, also if_not_present
	PullAlways  PullPolicy = "always"
	PullNever   PullPolicy = "never"
	PullBuild   PullPolicy = "build"   // the image is built, every time
	PullRefresh PullPolicy = "refresh" // daily, weekly, every_<duration>: see Service.PullEvery
)

// Attachment is a service's place on one network of the project.
type Attachment struct {
	Network  string                   `json:"network"`           // the network's key in the project
	Name     string                   `json:"name"`              // the network's name in the runtime
	Aliases  []string                 `json:"aliases,omitempty"` // the user's and the service's name
	Settings network.EndpointSettings `json:"settings"`          // fixed addresses, MAC address, priority
	Source   Position                 `json:"source,omitzero"`
}

// Condition is what a dependency must have reached before its dependant
// starts. Source: compose specification, depends_on.
type Condition string

const (
	Started   Condition = "service_started"
	Healthy   Condition = "service_healthy"
	Completed Condition = "service_completed_successfully"
)

// Dependency is an edge of the project's graph.
type Dependency struct {
	Service   string    `json:"service"`
	Condition Condition `json:"condition"`
	Required  bool      `json:"required"`          // false: a missing or failed dependency is only warned about
	Restart   bool      `json:"restart,omitempty"` // true: the dependant is restarted after its dependency was replaced or restarted by a person
}

// Network is a network of the project.
type Network struct {
	Key      string                `json:"key"`
	Name     string                `json:"name"` // in the runtime
	External bool                  `json:"external,omitempty"`
	Create   network.CreateRequest `json:"create"` // what to create, labels included; empty for an external one
	Hash     string                `json:"hash,omitempty"`
	Source   Position              `json:"source,omitzero"`
}

// Volume is a named volume of the project.
type Volume struct {
	Key        string            `json:"key"`
	Name       string            `json:"name"` // in the runtime
	External   bool              `json:"external,omitempty"`
	Driver     string            `json:"driver,omitempty"`
	DriverOpts map[string]string `json:"driverOpts,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Hash       string            `json:"hash,omitempty"`
	Source     Position          `json:"source,omitzero"`
}

// Position is a place in a file, lines and columns counted from 1. The zero
// value means that nobody wrote the value: it is a default.
type Position struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}
