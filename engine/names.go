package engine

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
)

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// find returns the container with that ID, name, or unique prefix of an ID.
func (e *Engine) find(ref string) (*ctr, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.findLocked(ref)
}

func (e *Engine) findLocked(ref string) (*ctr, error) {
	if ref = strings.TrimPrefix(ref, "/"); ref == "" {
		return nil, fmt.Errorf("no container named: %w", errdefs.ErrInvalidArgument)
	}
	if c, ok := e.containers[ref]; ok {
		return c, nil
	}
	if id, ok := e.names[ref]; ok {
		if c, ok := e.containers[id]; ok {
			return c, nil
		}
	}
	var found *ctr
	for id, c := range e.containers {
		if strings.HasPrefix(id, ref) {
			if found != nil {
				return nil, fmt.Errorf("container ID prefix %q is ambiguous, give more of it: %w", ref, errdefs.ErrInvalidArgument)
			}
			found = c
		}
	}
	if found == nil {
		return nil, fmt.Errorf("No such container: %s: %w", ref, errdefs.ErrNotFound)
	}
	return found, nil
}

// reserveName ties a name to a container's ID before the container exists.
func (e *Engine) reserveName(name, id string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("container name %q is invalid, only [a-zA-Z0-9][a-zA-Z0-9_.-]+ is allowed: %w", name, errdefs.ErrInvalidArgument)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if holder, ok := e.names[name]; ok && holder != id {
		return fmt.Errorf("container name %q is already in use by container %s; remove or rename that container first: %w", name, short(holder), errdefs.ErrAlreadyExists)
	}
	e.names[name] = id
	return nil
}

func (e *Engine) releaseName(name, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.names[name] == id {
		delete(e.names, name)
	}
}

// all returns the containers sorted by ID.
func (e *Engine) all() []*ctr {
	e.mu.RLock()
	defer e.mu.RUnlock()
	out := make([]*ctr, 0, len(e.containers))
	for _, c := range e.containers {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *ctr) int { return strings.Compare(a.id, b.id) })
	return out
}

// short is the form of an ID that people read.
func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

// Labels that the engine reads and writes.
const (
	labelProject   = project.LabelProject
	labelService   = project.LabelService
	labelNumber    = project.LabelNumber
	labelHash      = project.LabelHash
	labelOneOff    = project.LabelOneOff
	labelDependsOn = project.LabelDependsOn
	labelImage     = project.LabelImage
	labelNetwork   = project.LabelNetwork
	labelVolume    = project.LabelVolume
	labelAnonymous = "com.docker.volume.anonymous"
)

// nameMatches tells whether a name filter, a regular expression or a part of
// the name, fits. Source: docker ps --filter name.
func nameMatches(filter, name string) bool {
	if strings.Contains("/"+name, filter) {
		return true
	}
	re, err := regexp.Compile(filter)
	return err == nil && (re.MatchString(name) || re.MatchString("/"+name))
}

// freeName makes up a name for a container that was given none.
func (e *Engine) freeName() string {
	e.mu.RLock()
	defer e.mu.RUnlock()
	for {
		id := randomID()
		name := adjectives[int(id[0])%len(adjectives)] + "_" + nouns[int(id[1])*7%len(nouns)]
		if _, taken := e.names[name]; !taken {
			return name
		}
		if name += "_" + id[2:6]; e.names[name] == "" {
			return name
		}
	}
}

var (
	adjectives = [...]string{"brave", "bright", "brisk", "calm", "clear", "clever", "eager", "early", "fair", "fine", "gentle", "happy", "keen", "kind", "lively", "merry", "noble", "patient", "proud", "quick", "quiet", "ready", "sharp", "steady", "strong", "sturdy", "swift", "tidy", "true", "warm", "wise", "zealous"}
	nouns      = [...]string{"anchor", "barge", "beacon", "boom", "buoy", "cable", "capstan", "cargo", "crane", "davit", "deck", "derrick", "dock", "ferry", "girder", "harbor", "hoist", "hook", "hull", "jetty", "jib", "keel", "ladder", "lighter", "mast", "pallet", "pier", "pulley", "quay", "rigger", "rudder", "sling", "tackle", "tide", "trolley", "tug", "wharf", "winch", "yard"}
)
