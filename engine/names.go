package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gantry/project"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
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
				return nil, fmt.Errorf("multiple IDs found with provided prefix: %s: %w", ref, errdefs.ErrInvalidArgument)
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
		return fmt.Errorf("Invalid container name (%s), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed: %w", name, errdefs.ErrInvalidArgument)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if holder, ok := e.names[name]; ok && holder != id {
		return fmt.Errorf("Conflict. The container name %q is already in use by container %q. You have to remove (or rename) that container to be able to reuse that name.: %w", "/"+name, holder, errdefs.ErrConflict)
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

// RenameContainer gives a container another name. Its old one is refused, as
// Docker does.
func (e *Engine) RenameContainer(ctx context.Context, ref, name string) error {
	if name = strings.TrimPrefix(name, "/"); name == "" {
		return fmt.Errorf("Neither old nor new names may be empty: %w", errdefs.ErrInvalidArgument)
	}
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	if c.name() == name {
		return fmt.Errorf("Renaming a container with the same name as its current name: %w", errdefs.ErrInvalidArgument)
	}
	return e.rename(ctx, c, name)
}

// rename gives a container a name; it may have it already.
func (e *Engine) rename(ctx context.Context, c *ctr, name string) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	c.mu.Lock()
	old, rec, gone := c.rec.Name, c.rec, c.gone
	c.mu.Unlock()
	if gone {
		return fmt.Errorf("No such container: %s: %w", old, errdefs.ErrNotFound)
	}
	if err := e.reserveName(name, c.id); err != nil {
		return fmt.Errorf("Error when allocating new name: %w", err)
	}
	if old == name {
		return nil
	}
	rec.Name = name
	b, err := json.Marshal(rec)
	if err == nil {
		err = e.rt.UpdateRecord(ctx, c.id, b)
	}
	if err != nil {
		e.releaseName(name, c.id)
		return fmt.Errorf("rename container %q to %q: %w", old, name, err)
	}
	c.mu.Lock()
	c.rec.Name = name
	c.mu.Unlock()
	e.releaseName(old, c.id)
	if err := e.renameInNetworks(c); err != nil {
		return fmt.Errorf("rename container %q to %q: %w", old, name, err)
	}
	e.emitContainer(c, events.ActionRename, map[string]string{"oldName": "/" + old})
	return nil
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
// the name, fits.
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
	for tries := 0; ; tries++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + nouns[rand.IntN(len(nouns))]
		if tries > 3 { // most are taken
			name += strconv.Itoa(rand.IntN(tries * 10))
		}
		if _, taken := e.names[name]; !taken {
			return name
		}
	}
}

// Words of harbours and ships, for the names of containers that nobody named.
var (
	adjectives = [...]string{"able", "agile", "amber", "ample", "azure", "balmy", "bold", "bonny", "brave", "bright", "brisk", "calm", "clear", "clever", "eager", "early", "fair", "fine", "gentle", "happy", "keen", "kind", "lively", "merry", "noble", "patient", "proud", "quick", "quiet", "ready", "sharp", "steady", "strong", "sturdy", "swift", "tidy", "true", "warm", "wise", "zealous", "chilly", "civil", "coastal", "copper", "cosy", "crisp", "daring", "dapper", "deft", "earnest", "easy", "fabled", "fleet", "fluent", "frank", "fresh", "glad", "golden", "graceful", "hardy", "hearty", "honest", "humble", "jaunty", "jolly", "lucid", "lucky", "mellow", "mighty", "mild", "modest", "nimble", "placid", "plucky", "polite", "prompt", "rapid", "robust", "rosy", "rugged", "sane", "silver", "sleek", "snug", "spry", "sunny", "tender", "trim", "trusty", "vivid", "witty"}
	nouns      = [...]string{"albatross", "archipelago", "atoll", "ballast", "bay", "binnacle", "bowsprit", "breeze", "brig", "bulwark", "cape", "carrack", "clipper", "compass", "cormorant", "cove", "current", "cutter", "dhow", "dolphin", "dory", "estuary", "fathom", "fjord", "galleon", "gangway", "gull", "halyard", "hawser", "heron", "inlet", "island", "junk", "kelp", "ketch", "knot", "lagoon", "lantern", "lugger", "marina", "mooring", "narwhal", "oar", "osprey", "otter", "outrigger", "pelican", "petrel", "pilot", "porpoise", "reef", "sail", "schooner", "seal", "sextant", "shoal", "skiff", "sloop", "spar", "spinnaker", "strait", "tanker", "tern", "tiller", "trawler", "whale", "yawl", "anchor", "barge", "beacon", "boom", "buoy", "cable", "capstan", "cargo", "crane", "davit", "deck", "derrick", "dock", "ferry", "girder", "harbor", "hoist", "hook", "hull", "jetty", "jib", "keel", "ladder", "lighter", "mast", "pallet", "pier", "pulley", "quay", "rigger", "rudder", "sling", "tackle", "tide", "trolley", "tug", "wharf", "winch", "yard"}
)
