package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/events"
)

// eventObjects are the filters that name an object; their values match its ID
// or name, or the beginning of one.
var eventObjects = []string{"builder", "config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"}

// checkEvents refuses filters that GET /events does not have.
func (f Filters) checkEvents() error {
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(eventObjects, key) && !slices.Contains([]string{"event", "image", "label", "scope", "type"}, key) {
			return fmt.Errorf("invalid filter '%s': %w", key, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// matchEvent tells whether an event passes the filters. Source: Engine API,
// GET /events.
func (f Filters) matchEvent(m events.Message) bool {
	for key, values := range f {
		ok := false
		switch key {
		case "label":
			ok = matchLabels(m.Actor.Attributes, values)
		case "type":
			ok = slices.Contains(values, string(m.Type))
		case "scope":
			ok = slices.Contains(values, m.Scope)
		case "event":
			ok = slices.ContainsFunc(values, func(v string) bool { return isAction(m.Action, v) })
		case "image":
			ok = slices.ContainsFunc(values, func(v string) bool { return aboutImage(m, v) })
		default:
			ok = string(m.Type) == key && slices.ContainsFunc(values, func(v string) bool {
				return strings.HasPrefix(m.Actor.ID, v) || strings.HasPrefix(m.Actor.Attributes["name"], v)
			})
		}
		if !ok {
			return false
		}
	}
	return true
}

// isAction tells whether an action is the wanted one, or that with the details
// which follow some: exec_create, exec_start and health_status.
func isAction(a events.Action, wanted string) bool {
	kind, _, _ := strings.Cut(string(a), ":")
	return wanted == string(a) || wanted == kind
}

// aboutImage tells whether an event is of the image or of a container of it;
// a name without tag stands for all tags.
func aboutImage(m events.Message, wanted string) bool {
	name := m.Actor.Attributes["image"]
	if m.Type == events.ImageEventType {
		name = m.Actor.Attributes["name"]
	}
	for _, known := range []string{name, m.Actor.ID} {
		if known != "" && (wanted == known || wanted == withoutTag(known)) {
			return true
		}
	}
	return m.Type == events.ImageEventType && len(wanted) >= 12 && strings.HasPrefix(strings.TrimPrefix(m.Actor.ID, "sha256:"), strings.TrimPrefix(wanted, "sha256:"))
}

func withoutTag(name string) string {
	name, _, _ = strings.Cut(name, "@")
	if i := strings.LastIndex(name, ":"); i > strings.LastIndex(name, "/") {
		return name[:i]
	}
	return name
}
