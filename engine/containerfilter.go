package engine

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// containerTest decides about one container and one filter.
type containerTest func(rec *record, st *state) bool

// containerFilter turns filters into a decision; an unknown one, or a value
// that the filter cannot have, is an error. Values of one filter are
// alternatives, except labels. Source: Engine API, GET /containers/json.
func (e *Engine) containerFilter(ctx context.Context, f Filters) (containerTest, error) {
	makers := map[string]func(values []string) (containerTest, error){
		"id":        byID,
		"name":      byName,
		"status":    byStatus,
		"exited":    byExit,
		"health":    byHealth,
		"isolation": byIsolation,
		"is-task":   byTask,
		"network":   byNetwork,
		"volume":    byVolume,
		"publish":   byPort("publish", published),
		"expose":    byPort("expose", exposed),
		"label": func([]string) (containerTest, error) {
			return func(rec *record, _ *state) bool { return f.matchLabels(rec.Config.Labels) }, nil
		},
		"annotation": func(values []string) (containerTest, error) {
			return func(rec *record, _ *state) bool { return matchLabels(rec.HostConfig.Annotations, values) }, nil
		},
		"ancestor": func(values []string) (containerTest, error) { return e.byAncestor(ctx, values) },
		"before":   e.byCreation(func(t, bound time.Time) bool { return t.Before(bound) }),
		"since":    e.byCreation(func(t, bound time.Time) bool { return t.After(bound) }),
	}
	makers["label!"] = makers["label"]
	var tests []containerTest
	for _, key := range slices.Sorted(maps.Keys(f)) {
		newTest, ok := makers[key]
		if !ok {
			return nil, fmt.Errorf("invalid filter '%s': %w", key, errdefs.ErrInvalidArgument)
		}
		test, err := newTest(f[key])
		if err != nil {
			return nil, err
		}
		tests = append(tests, test)
	}
	return func(rec *record, st *state) bool {
		return !slices.ContainsFunc(tests, func(t containerTest) bool { return !t(rec, st) })
	}, nil
}

func badFilter(key, value string) error {
	return fmt.Errorf("invalid filter '%s=%s': %w", key, value, errdefs.ErrInvalidArgument)
}

func byID(values []string) (containerTest, error) {
	return func(rec *record, _ *state) bool {
		return slices.ContainsFunc(values, func(v string) bool { return strings.HasPrefix(rec.ID, v) })
	}, nil
}

// byName takes regular expressions, with or without the name's slash. One that
// is none fits nothing, as in Docker, but for the name that it is.
func byName(values []string) (containerTest, error) {
	var patterns []*regexp.Regexp
	for _, v := range values {
		if re, err := regexp.Compile(v); err == nil {
			patterns = append(patterns, re)
		}
	}
	return func(rec *record, _ *state) bool {
		return slices.Contains(values, rec.Name) || slices.ContainsFunc(patterns, func(re *regexp.Regexp) bool {
			return re.MatchString(rec.Name) || re.MatchString("/"+rec.Name)
		})
	}, nil
}

func byStatus(values []string) (containerTest, error) {
	for _, v := range values {
		if err := container.ValidateContainerState(container.ContainerState(v)); err != nil {
			return nil, fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return func(_ *record, st *state) bool { return slices.Contains(values, string(st.Status)) }, nil
}

func byExit(values []string) (containerTest, error) {
	var codes []int
	for _, v := range values {
		code, err := strconv.Atoi(v)
		if err != nil {
			return nil, badFilter("exited", v)
		}
		codes = append(codes, code)
	}
	return func(_ *record, st *state) bool {
		return st.Status == container.StateExited && slices.Contains(codes, st.ExitCode)
	}, nil
}

func byHealth(values []string) (containerTest, error) {
	for _, v := range values {
		if err := container.ValidateHealthStatus(container.HealthStatus(v)); err != nil {
			return nil, fmt.Errorf("%v: %w", err, errdefs.ErrInvalidArgument)
		}
	}
	return func(_ *record, st *state) bool {
		health := container.NoHealthcheck
		if st.Health != nil {
			health = st.Health.Status
		}
		return slices.Contains(values, string(health))
	}, nil
}

// byIsolation knows the one that Linux has.
func byIsolation(values []string) (containerTest, error) {
	ok := slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, string(container.IsolationDefault)) })
	return func(*record, *state) bool { return ok }, nil
}

// byTask is about swarm's tasks: no container is one.
func byTask(values []string) (containerTest, error) {
	wanted, err := Filters{"is-task": values}.boolean("is-task")
	if err != nil {
		return nil, err
	}
	return func(*record, *state) bool { return !*wanted }, nil
}

func byNetwork(values []string) (containerTest, error) {
	return func(rec *record, st *state) bool {
		return slices.ContainsFunc(values, func(v string) bool {
			if len(rec.Networks) == 0 {
				return string(rec.HostConfig.NetworkMode) == v
			}
			return slices.ContainsFunc(rec.Networks, func(a attachment) bool {
				ep := st.Endpoints[a.Network]
				return a.Network == v || v != "" && ep != nil && strings.HasPrefix(ep.NetworkID, v)
			})
		})
	}, nil
}

// byVolume takes volumes' names, host paths and paths in the container.
func byVolume(values []string) (containerTest, error) {
	return func(rec *record, _ *state) bool {
		for i := range rec.Mounts {
			m := &rec.Mounts[i]
			if slices.Contains(values, m.Target) || m.Name != "" && slices.Contains(values, m.Name) || m.Name == "" && m.Source != "" && slices.Contains(values, m.Source) {
				return true
			}
		}
		return false
	}, nil
}

// byCreation compares with the container that the first value names.
func (e *Engine) byCreation(fits func(t, bound time.Time) bool) func([]string) (containerTest, error) {
	return func(values []string) (containerTest, error) {
		c, err := e.find(values[0])
		if err != nil {
			return nil, err
		}
		bound := c.record().Created
		return func(rec *record, _ *state) bool { return fits(rec.Created, bound) }, nil
	}
}

// byAncestor selects the containers of an image and of those that were made on
// top of it, which have its layers and more.
func (e *Engine) byAncestor(ctx context.Context, values []string) (containerTest, error) {
	all, err := e.rt.Images(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, v := range values {
		img, err := e.rt.Image(ctx, v)
		if err != nil { // as Docker: an image that is not here has no containers
			if !errdefs.IsNotFound(err) && !errdefs.IsInvalidArgument(err) {
				return nil, err
			}
			continue
		}
		for _, id := range img.IDs() {
			ids[id] = true
		}
		for _, other := range all {
			if buildsOn(other, img) {
				ids[other.ID] = true
			}
		}
	}
	return func(rec *record, _ *state) bool { return ids[rec.ImageID] }, nil
}

func buildsOn(img, base *ctd.Image) bool {
	n := len(base.DiffIDs)
	return n > 0 && len(img.DiffIDs) > n && slices.Equal(img.DiffIDs[:n], base.DiffIDs)
}

// portProto is a port of a container, such as 80/tcp.
type portProto struct {
	port  uint16
	proto string
}

// published are the container's ports that the host has, or will have.
func published(rec *record, st *state) []portProto {
	var out []portProto
	for p := range rec.HostConfig.PortBindings {
		out = append(out, portProto{p.Num(), string(p.Proto())})
	}
	for p, bindings := range st.Ports {
		if len(bindings) > 0 {
			out = append(out, portProto{p.Num(), string(p.Proto())})
		}
	}
	return out
}

func exposed(rec *record, _ *state) []portProto {
	var out []portProto
	for p := range rec.Config.ExposedPorts {
		out = append(out, portProto{p.Num(), string(p.Proto())})
	}
	return out
}

// byPort takes PORT[/PROTO] and FROM-TO[/PROTO]; the protocol is tcp when none
// is given.
func byPort(key string, ports func(*record, *state) []portProto) func([]string) (containerTest, error) {
	return func(values []string) (containerTest, error) {
		var fits []func(portProto) bool
		for _, v := range values {
			span, proto, _ := strings.Cut(v, "/")
			if proto == "" {
				proto = "tcp"
			}
			first, last, ranged := strings.Cut(span, "-")
			if !ranged {
				last = first
			}
			from, err := strconv.ParseUint(first, 10, 16)
			to, err2 := strconv.ParseUint(last, 10, 16)
			if err != nil || err2 != nil || to < from {
				return nil, badFilter(key, v)
			}
			fits = append(fits, func(p portProto) bool {
				return uint64(p.port) >= from && uint64(p.port) <= to && strings.EqualFold(p.proto, proto)
			})
		}
		return func(rec *record, st *state) bool {
			return slices.ContainsFunc(ports(rec, st), func(p portProto) bool {
				return slices.ContainsFunc(fits, func(fit func(portProto) bool) bool { return fit(p) })
			})
		}, nil
	}
}
