package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"
)

// bodies are what requests of older versions mean by other words.
var bodies = []change[func(object) error]{
	{"POST /containers/create", apiVersion{1, 52}, addressOfContainer},
	{"POST /containers/create", apiVersion{1, 52}, wordsAsLists},
	{"POST /containers/create", apiVersion{1, 44}, func(o object) error {
		delete(child(o, "Healthcheck"), "StartInterval")
		for _, m := range objects(child(o, "HostConfig")["Mounts"]) {
			if readOnly, _ := m["ReadOnly"].(bool); !readOnly || m["Type"] != "bind" {
				continue
			}
			if child(m, "BindOptions") == nil {
				m["BindOptions"] = object{}
			}
			child(m, "BindOptions")["ReadOnlyNonRecursive"] = true
		}
		return nil
	}},
	{"POST /containers/create", apiVersion{1, 43}, hostConfigWithout("Annotations")},
	{"POST /containers/create", apiVersion{1, 42}, hostConfigWithout("ConsoleSize")},
	{"POST /containers/create", apiVersion{1, 42}, func(o object) error {
		for _, m := range objects(child(o, "HostConfig")["Mounts"]) {
			delete(child(m, "BindOptions"), "CreateMountpoint")
		}
		return nil
	}},
	{"POST /containers/create", apiVersion{1, 41}, func(o object) error {
		host := child(o, "HostConfig")
		if mode, _ := host["CgroupnsMode"].(string); mode == "" && host != nil {
			host["CgroupnsMode"] = "host"
		}
		return nil
	}},
	{"POST /containers/{id}/exec", apiVersion{1, 52}, wordsAsLists},
	{"POST /containers/{id}/exec", apiVersion{1, 42}, bodyWithout("ConsoleSize")},
	{"POST /exec/{id}/start", apiVersion{1, 42}, bodyWithout("ConsoleSize")},
}

// queries are the same for parameters.
var queries = []change[func(url.Values)]{
	// sizes came with the objects then
	{"GET /system/df", apiVersion{1, 53}, func(q url.Values) { q.Set("verbose", "1") }},
	{"GET /containers/{id}/attach/ws", apiVersion{1, 42}, func(q url.Values) {
		for _, k := range []string{"stdin", "stdout", "stderr"} {
			q.Set(k, "1")
		}
	}},
	{"POST /containers/{id}/stop", apiVersion{1, 42}, func(q url.Values) { q.Del("signal") }},
	{"POST /containers/{id}/restart", apiVersion{1, 42}, func(q url.Values) { q.Del("signal") }},
	{"POST /volumes/prune", apiVersion{1, 42}, func(q url.Values) { addFilter(q, "all", "true") }},
	{"GET /images/json", apiVersion{1, 41}, func(q url.Values) {
		if name := q.Get("filter"); name != "" {
			addFilter(q, "reference", name)
		}
	}},
}

func bodyWithout(keys ...string) func(object) error {
	return func(o object) error { without(keys...)(o); return nil }
}

func hostConfigWithout(keys ...string) func(object) error {
	return func(o object) error { inside("HostConfig", without(keys...))(o); return nil }
}

// wordsAsLists takes a command that is one string for a list of it.
func wordsAsLists(o object) error {
	for _, k := range []string{"Cmd", "Entrypoint"} {
		if word, ok := o[k].(string); ok {
			o[k] = []any{word}
		}
	}
	return nil
}

// addressOfContainer moves a container's MAC address to its endpoint in the
// network that its mode names.
func addressOfContainer(o object) error {
	mac, _ := o["MacAddress"].(string)
	delete(o, "MacAddress")
	if mac == "" {
		return nil
	}
	mode, _ := child(o, "HostConfig")["NetworkMode"].(string)
	if mode == "" {
		mode = "default"
	}
	if mode == "host" || strings.HasPrefix(mode, "container:") {
		return fmt.Errorf("conflicting options: mac-address and the network mode: %w", errdefs.ErrInvalidArgument)
	}
	at := o
	for _, k := range []string{"NetworkingConfig", "EndpointsConfig", mode} {
		if child(at, k) == nil {
			at[k] = object{}
		}
		at = child(at, k)
	}
	if own, _ := at["MacAddress"].(string); own != "" && !strings.EqualFold(own, mac) {
		return fmt.Errorf("conflicting MAC addresses: the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty: %w", errdefs.ErrInvalidArgument)
	}
	at["MacAddress"] = mac
	return nil
}

// withoutBody refuses a start that carries a configuration, as the first
// versions allowed it. An empty object is what some clients send for nothing.
func withoutBody(next handler) handler {
	const empty = 7 // bytes: "{}" or "null" and line ends
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.ContentLength > empty || r.ContentLength < 0 {
			return badRequest("starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24")
		}
		return next(w, r)
	}
}
