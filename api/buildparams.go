package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"gantry/engine"

	"github.com/moby/moby/api/types/registry"
)

// classicBuild reads the parameters of POST /build.
func classicBuild(r *http.Request) (o engine.ClassicBuild, err error) {
	q := r.URL.Query()
	switch version := q.Get("version"); version {
	case "", "1", "2":
	default:
		return o, badRequest("parameter \"version\": %q is no builder: 1 or 2", version)
	}
	if err := unsupported(r, "squash", "securityopt"); err != nil {
		return o, err
	}
	if isolation := q.Get("isolation"); isolation != "" && isolation != "default" {
		return o, badRequest("parameter \"isolation\": %q is not supported on Linux", isolation)
	}
	o.ClassicOptions = engine.ClassicOptions{
		Dockerfile: q.Get("dockerfile"), Target: q.Get("target"), NoCache: flag(r, "nocache"), Pull: flag(r, "pull"),
		Network: q.Get("networkmode"), ExtraHosts: q["extrahosts"], Cpus: q.Get("cpusetcpus"), Mems: q.Get("cpusetmems"),
		Cgroup: q.Get("cgroupparent"), Platform: q.Get("platform"), Session: q.Get("session"), Limits: map[string]int64{},
	}
	if o.Tags, err = tagsOf(r); err != nil {
		return o, err
	}
	for name, to := range map[string]any{"buildargs": &o.Args, "labels": &o.Labels, "cachefrom": &o.CacheFrom, "ulimits": &o.Ulimits, "outputs": &o.Outputs} {
		if s := q.Get(name); s != "" {
			if err := json.Unmarshal([]byte(s), to); err != nil {
				return o, badRequest("parameter %q: %q: %w", name, s, err)
			}
		}
	}
	for _, name := range []string{"memory", "memswap", "cpushares", "cpuperiod", "cpuquota", "shmsize"} {
		s := q.Get(name)
		if s == "" {
			continue
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return o, badRequest("parameter %q: %q is not a number", name, s)
		}
		if name == "shmsize" {
			o.ShmSize = n
		} else {
			o.Limits[name] = n
		}
	}
	for _, out := range o.Outputs {
		if o.Session == "" && (out.Type == "local" || out.Type == "tar" || out.Type == "oci") {
			return o, badRequest("output type %q needs a session with the client that takes it", out.Type)
		}
	}
	o.ID = q.Get("buildid")
	switch remote := q.Get("remote"); remote {
	case "":
		o.Body = r.Body
	case "client-session":
		if o.Session == "" {
			return o, badRequest("remote client-session needs a session")
		}
	case "upload-request":
		o.Uploaded = true
	default:
		if !isRemote(remote) {
			return o, badRequest("parameter \"remote\": %q is no URL of an archive, a Dockerfile or a git repository", remote)
		}
		o.Context = remote
	}
	o.Credentials, err = registryConfig(r.Header.Get("X-Registry-Config"))
	return o, err
}

// isRemote tells whether a build's context lies elsewhere.
func isRemote(context string) bool {
	scheme, _, url := strings.Cut(context, "://")
	if url {
		return slices.Contains([]string{"http", "https", "git", "ssh"}, strings.ToLower(scheme))
	}
	host, _, scp := strings.Cut(context, ":") // user@host:path
	return scp && strings.Contains(host, "@") && !strings.Contains(host, "/") || strings.HasPrefix(context, "github.com/")
}

// registryConfig decodes the X-Registry-Config header: JSON in URL-safe base64
// of an object of credentials by registry.
func registryConfig(header string) (out map[string]registry.AuthConfig, err error) {
	if header == "" {
		return nil, nil
	}
	data, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		data, err = base64.RawURLEncoding.DecodeString(header)
	}
	if err == nil && len(data) > 0 {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, badRequest("header X-Registry-Config cannot be read: %w", err)
	}
	return out, nil
}
