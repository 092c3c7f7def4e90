package build

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/go-units"
	controlapi "github.com/moby/buildkit/api/services/control"
)

// Classic says what image to build as POST /build of the Engine API does.
type Classic struct {
	Context    string // URL; "" when the session has it
	Dockerfile string // path in the context
	Target     string
	Tags       []string
	NoCache    bool
	Pull       bool
	CacheFrom  []string
	Args       map[string]*string // those without a value are left out
	Labels     map[string]string
	Network    string   // "", default, bridge, host, none
	ExtraHosts []string // NAME:ADDRESS
	ShmSize    int64    // bytes
	Ulimits    []*units.Ulimit
	Limits     map[string]int64 // memory, memswap (bytes), cpushares, cpuperiod, cpuquota (µs)
	Cpus, Mems string           // sets that steps may run on
	Cgroup     string           // parent of the steps' cgroups
	Platform   string
	Outputs    []Output // instead of the image store
	Session    string
	Ref        string
}

// Output is where a build's result goes.
type Output struct {
	Type  string
	Attrs map[string]string
}

// request puts it into BuildKit's terms. Source: buildkit, frontend/dockerui.
func (c Classic) request() (*controlapi.SolveRequest, error) {
	attrs := map[string]string{"image-resolve-mode": "local"}
	set := func(key, value string) {
		if value != "" {
			attrs[key] = value
		}
	}
	if c.Pull {
		attrs["image-resolve-mode"] = "pull"
	}
	if c.NoCache {
		attrs["no-cache"] = ""
	}
	set("context", c.Context)
	set("filename", c.Dockerfile)
	set("target", c.Target)
	set("platform", c.Platform)
	set("cgroup-parent", c.Cgroup)
	set("cpusetcpus", c.Cpus)
	set("cpusetmems", c.Mems)
	for k, v := range c.Args {
		if v != nil {
			attrs["build-arg:"+k] = *v
		}
	}
	for k, v := range c.Labels {
		attrs["label:"+k] = v
	}
	for k, n := range c.Limits {
		if n != 0 {
			attrs[k] = strconv.FormatInt(n, 10)
		}
	}
	if c.ShmSize > 0 {
		set("shm-size", strconv.FormatInt(c.ShmSize, 10))
	}
	hosts, err := extraHosts(c.ExtraHosts)
	if err != nil {
		return nil, err
	}
	set("add-hosts", hosts)
	set("ulimit", ulimits(c.Ulimits))
	req := &controlapi.SolveRequest{Ref: c.Ref, Session: c.Session, Frontend: "dockerfile.v0", FrontendAttrs: attrs, Cache: &controlapi.CacheOptions{}}
	switch c.Network {
	case "", "default", "bridge":
	case "host":
		req.Entitlements = append(req.Entitlements, "network.host")
		attrs["force-network-mode"] = "host"
	case "none":
		attrs["force-network-mode"] = "none"
	default:
		return nil, fmt.Errorf("network mode %q is not supported in builds: use default, host or none: %w", c.Network, errdefs.ErrInvalidArgument)
	}
	if inline := c.Args["BUILDKIT_INLINE_CACHE"]; inline != nil {
		req.Cache.Exports = cacheOptions(WithInline(nil, *inline))
	}
	for _, ref := range c.CacheFrom {
		req.Cache.Imports = append(req.Cache.Imports, &controlapi.CacheOptionsEntry{Type: "registry", Attrs: map[string]string{"ref": ref}})
	}
	if len(req.Cache.Imports) > 0 {
		text, err := json.Marshal(req.Cache.Imports)
		if err != nil {
			return nil, err
		}
		attrs["cache-imports"] = string(text)
	}
	return req, c.export(req)
}

// export says where the result goes.
func (c Classic) export(req *controlapi.SolveRequest) error {
	outputs := c.Outputs
	if len(outputs) == 0 {
		outputs = []Output{{Type: exporterMoby}}
	}
	for _, o := range outputs {
		attrs := maps.Clone(o.Attrs)
		if attrs == nil {
			attrs = map[string]string{}
		}
		switch o.Type {
		case exporterMoby, "image":
			o.Type = exporterMoby
			if names := slices.DeleteFunc(append(slices.Clone(c.Tags), attrs["name"]), func(s string) bool { return s == "" }); len(names) > 0 {
				attrs["name"] = strings.Join(names, ",")
			}
		case "cacheonly":
			continue
		case "local", "tar", "oci", "docker", "registry":
			delete(attrs, "dest")
		default:
			return fmt.Errorf("output type %q is not known: use docker, image, local, oci, registry or tar: %w", o.Type, errdefs.ErrInvalidArgument)
		}
		req.Exporters = append(req.Exporters, &controlapi.Exporter{Type: o.Type, Attrs: attrs})
	}
	return nil
}

// extraHosts are NAME=ADDRESS,…; Docker's clients write NAME:ADDRESS.
func extraHosts(list []string) (string, error) {
	var out []string
	for _, text := range list {
		name, addr, ok := strings.Cut(text, "=")
		if !ok {
			name, addr, ok = strings.Cut(text, ":")
		}
		if !ok || name == "" || addr == "" {
			return "", fmt.Errorf("extra host %q: write name:address: %w", text, errdefs.ErrInvalidArgument)
		}
		out = append(out, name+"="+strings.Trim(addr, "[]"))
	}
	return record(out), nil
}

func ulimits(list []*units.Ulimit) string {
	var out []string
	for _, u := range list {
		out = append(out, u.String())
	}
	return record(out)
}

// record is a line of comma-separated values.
func record(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(fields) // to memory
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
