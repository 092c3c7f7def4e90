package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
)

// ListContainers returns the containers that options select, newest first.
func (e *Engine) ListContainers(_ context.Context, opts ListOptions) ([]container.Summary, error) {
	f, err := e.containerFilter(opts.Filters)
	if err != nil {
		return nil, err
	}
	all := opts.All || opts.Limit > 0 || len(opts.Filters["status"]) > 0 || len(opts.Filters["exited"]) > 0
	now := time.Now()
	var out []container.Summary
	for _, c := range e.all() {
		c.mu.Lock()
		rec, st, gone := c.rec, c.st, c.gone
		c.mu.Unlock()
		if gone || !all && !st.alive() && st.Status != container.StateRestarting || !f(&rec, &st) {
			continue
		}
		out = append(out, e.summary(c, &rec, &st, now))
	}
	slices.SortStableFunc(out, func(a, b container.Summary) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), cmp.Compare(a.ID, b.ID))
	})
	if opts.Limit > 0 && len(out) > opts.Limit {
		out = out[:opts.Limit]
	}
	return out, nil
}

func (e *Engine) summary(c *ctr, rec *record, st *state, now time.Time) container.Summary {
	path, args := commandOf(&rec.Config)
	s := container.Summary{
		ID: rec.ID, Names: []string{"/" + rec.Name}, Image: rec.Config.Image, ImageID: rec.ImageID,
		Command: strings.Join(append([]string{path}, args...), " "), Created: rec.Created.Unix(),
		Labels: rec.Config.Labels, State: st.Status, Status: statusText(st, now), Mounts: e.mountPoints(rec),
		NetworkSettings: &container.NetworkSettingsSummary{Networks: e.networkSettings(c, rec, st).Networks},
		Ports:           []container.PortSummary{},
	}
	s.HostConfig.NetworkMode = string(rec.HostConfig.NetworkMode)
	s.Health = &container.HealthSummary{Status: container.NoHealthcheck}
	if st.Health != nil {
		s.Health = &container.HealthSummary{Status: st.Health.Status, FailingStreak: st.Health.FailingStreak}
	}
	if st.alive() {
		for p, bindings := range st.Ports {
			for _, b := range bindings {
				var pub uint16
				fmt.Sscan(b.HostPort, &pub)
				s.Ports = append(s.Ports, container.PortSummary{IP: b.HostIP, PrivatePort: p.Num(), PublicPort: pub, Type: string(p.Proto())})
			}
		}
		for p := range rec.Config.ExposedPorts {
			if len(st.Ports[p]) == 0 {
				s.Ports = append(s.Ports, container.PortSummary{PrivatePort: p.Num(), Type: string(p.Proto())})
			}
		}
		slices.SortFunc(s.Ports, func(a, b container.PortSummary) int {
			return cmp.Or(cmp.Compare(a.PrivatePort, b.PrivatePort), cmp.Compare(a.Type, b.Type), a.IP.Compare(b.IP), cmp.Compare(a.PublicPort, b.PublicPort))
		})
	}
	return s
}

// statusText is the state as people read it, in Docker's words.
func statusText(st *state, now time.Time) string {
	ago := func(t time.Time) string { return units.HumanDuration(now.Sub(t)) }
	switch st.Status {
	case container.StateCreated:
		return "Created"
	case container.StateRunning, container.StatePaused:
		s := "Up " + ago(st.StartedAt)
		switch {
		case st.Status == container.StatePaused:
			s += " (Paused)"
		case st.Health != nil && st.Health.Status == container.Starting:
			s += " (health: starting)"
		case st.Health != nil && st.Health.Status != container.NoHealthcheck:
			s += " (" + string(st.Health.Status) + ")"
		}
		return s
	case container.StateRestarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, ago(st.FinishedAt))
	case container.StateRemoving:
		return "Removal In Progress"
	case container.StateDead:
		return "Dead"
	}
	return fmt.Sprintf("Exited (%d) %s ago", st.ExitCode, ago(st.FinishedAt))
}

// containerFilter turns filters into a decision; an unknown one is an error.
// Source: Engine API, GET /containers/json.
func (e *Engine) containerFilter(f Filters) (func(*record, *state) bool, error) {
	before, err := e.createdBound(f["before"])
	if err != nil {
		return nil, err
	}
	since, err := e.createdBound(f["since"])
	if err != nil {
		return nil, err
	}
	tests := map[string]func(rec *record, st *state, v string) bool{
		"id": func(rec *record, _ *state, v string) bool { return strings.HasPrefix(rec.ID, v) },
		"name": func(rec *record, _ *state, v string) bool {
			return nameMatches(v, rec.Name)
		},
		"status": func(_ *record, st *state, v string) bool { return string(st.Status) == v },
		"exited": func(_ *record, st *state, v string) bool {
			return st.Status == container.StateExited && fmt.Sprint(st.ExitCode) == v
		},
		"health": func(_ *record, st *state, v string) bool {
			if st.Health == nil {
				return v == string(container.NoHealthcheck)
			}
			return string(st.Health.Status) == v
		},
		"ancestor": func(rec *record, _ *state, v string) bool {
			return rec.Config.Image == v || rec.Image == v || rec.ImageID == v || strings.HasPrefix(strings.TrimPrefix(rec.ImageID, "sha256:"), strings.TrimPrefix(v, "sha256:")) || e.sameImage(rec.Config.Image, v)
		},
		"network": func(rec *record, st *state, v string) bool {
			return slices.ContainsFunc(rec.Networks, func(a attachment) bool {
				ep := st.Endpoints[a.Network]
				return a.Network == v || ep != nil && ep.NetworkID != "" && strings.HasPrefix(ep.NetworkID, v)
			}) || len(rec.Networks) == 0 && string(rec.HostConfig.NetworkMode) == v
		},
		"volume": func(rec *record, _ *state, v string) bool {
			for i := range rec.Mounts {
				if m := rec.Mounts[i]; m.Name == v || m.Source == v || m.Target == v {
					return true
				}
			}
			return false
		},
		"publish": func(_ *record, st *state, v string) bool { return hasPort(st, v) },
		"expose":  func(rec *record, st *state, v string) bool { return exposes(rec, v) },
		"before":  func(rec *record, _ *state, _ string) bool { return rec.Created.Before(before) },
		"since":   func(rec *record, _ *state, _ string) bool { return rec.Created.After(since) },
		"is-task": func(_ *record, _ *state, v string) bool { return v == "false" || v == "0" },
	}
	for key := range f {
		if _, ok := tests[key]; !ok && key != "label" {
			return nil, fmt.Errorf("invalid filter %q: %w", key, errdefs.ErrInvalidArgument)
		}
	}
	for _, v := range f["status"] {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return nil, fmt.Errorf("filter status: %v: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return func(rec *record, st *state) bool {
		for key, values := range f {
			if key == "label" {
				if !matchLabels(rec.Config.Labels, values) {
					return false
				}
			} else if !slices.ContainsFunc(values, func(v string) bool { return tests[key](rec, st, v) }) {
				return false
			}
		}
		return true
	}, nil
}

// createdBound is the moment when the first named container was created.
func (e *Engine) createdBound(refs []string) (time.Time, error) {
	if len(refs) == 0 {
		return time.Time{}, nil
	}
	c, err := e.find(refs[0])
	if err != nil {
		return time.Time{}, err
	}
	return c.record().Created, nil
}
