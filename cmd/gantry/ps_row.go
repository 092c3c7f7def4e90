package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gantry/project"

	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

const psTable = "table {{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}"

// publisher is a published port as --format json shows it.
type publisher struct {
	URL           string
	TargetPort    int
	PublishedPort int
	Protocol      string
}

// psRow is a container as ps shows it: its methods are the fields of a
// template, with Docker Compose's names.
type psRow struct {
	formatter.HeaderContext
	c     container.Summary
	trunc bool
	now   time.Time
}

var psHeaders = formatter.SubHeaderContext{
	"ID": formatter.ContainerIDHeader, "Name": formatter.NameHeader, "Names": "NAMES", "Service": "SERVICE", "Project": "PROJECT",
	"Image": formatter.ImageHeader, "Command": "COMMAND", "CreatedAt": formatter.CreatedAtHeader, "RunningFor": "CREATED",
	"State": formatter.StateHeader, "Status": formatter.StatusHeader, "Health": "HEALTH", "ExitCode": "EXIT CODE",
	"Ports": formatter.PortsHeader, "Publishers": "PUBLISHERS", "Labels": formatter.LabelsHeader, "Mounts": "MOUNTS",
	"LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Size": formatter.SizeHeader,
}

func (r *psRow) MarshalJSON() ([]byte, error) { return formatter.MarshalJSON(r) }

func (r *psRow) ID() string {
	if r.trunc && len(r.c.ID) > 12 {
		return r.c.ID[:12]
	}
	return r.c.ID
}
func (r *psRow) Name() string    { return nameOf(r.c) }
func (r *psRow) Names() string   { return nameOf(r.c) }
func (r *psRow) Service() string { return r.c.Labels[project.LabelService] }
func (r *psRow) Project() string { return r.c.Labels[project.LabelProject] }
func (r *psRow) Image() string   { return r.c.Image }

func (r *psRow) Command() string {
	command := r.c.Command
	if r.trunc {
		command = formatter.Ellipsis(command, 20)
	}
	return strconv.Quote(command)
}

func (r *psRow) CreatedAt() string {
	return time.Unix(r.c.Created, 0).Format("2006-01-02 15:04:05 -0700 MST")
}
func (r *psRow) RunningFor() string {
	return units.HumanDuration(r.now.Sub(time.Unix(r.c.Created, 0))) + " ago"
}
func (r *psRow) State() string  { return string(r.c.State) }
func (r *psRow) Status() string { return r.c.Status }

func (r *psRow) Health() string {
	if r.c.Health == nil || r.c.Health.Status == container.NoHealthcheck {
		return ""
	}
	return string(r.c.Health.Status)
}

var exitedStatus = regexp.MustCompile(`^(?:Exited|Restarting) \((\d+)\)`)

func (r *psRow) ExitCode() int {
	m := exitedStatus.FindStringSubmatch(r.c.Status)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0 // more digits than a code has
	}
	return n
}

func (r *psRow) Ports() string { return formatter.DisplayablePorts(slices.Clone(r.c.Ports)) }

func (r *psRow) Publishers() []publisher {
	out := []publisher{}
	for _, p := range r.c.Ports {
		one := publisher{TargetPort: int(p.PrivatePort), PublishedPort: int(p.PublicPort), Protocol: p.Type}
		if p.IP.IsValid() {
			one.URL = p.IP.String()
		}
		out = append(out, one)
	}
	return out
}

func (r *psRow) Labels() string {
	list := make([]string, 0, len(r.c.Labels))
	for k, v := range r.c.Labels {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// Label is one label's value, for templates.
func (r *psRow) Label(name string) string { return r.c.Labels[name] }

func (r *psRow) Mounts() string {
	var list []string
	for _, m := range r.c.Mounts {
		name := m.Name
		if name == "" {
			name = m.Source
		}
		if r.trunc {
			name = formatter.Ellipsis(name, 15)
		}
		list = append(list, name)
	}
	return strings.Join(list, ",")
}

func (r *psRow) LocalVolumes() string {
	n := 0
	for _, m := range r.c.Mounts {
		if m.Driver == "local" {
			n++
		}
	}
	return fmt.Sprint(n)
}

func (r *psRow) Networks() string {
	var list []string
	if r.c.NetworkSettings != nil {
		for name := range r.c.NetworkSettings.Networks {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

func (r *psRow) Size() string { return units.HumanSizeWithPrecision(float64(r.c.SizeRw), 3) }
