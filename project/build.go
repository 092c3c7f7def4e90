package project

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build says how a service's image is built. Source: compose build
// specification. It holds no secret: those stay where they are until a build
// asks for them.
type Build struct {
	Context          string            `json:"context"`              // absolute directory, or a URL
	Dockerfile       string            `json:"dockerfile,omitempty"` // absolute, or within a remote context
	DockerfileInline string            `json:"dockerfileInline,omitempty"`
	Args             map[string]string `json:"args,omitempty"`
	Target           string            `json:"target,omitempty"`
	CacheFrom        []string          `json:"cacheFrom,omitempty"` // as docker build takes them
	CacheTo          []string          `json:"cacheTo,omitempty"`
	NoCache          bool              `json:"noCache,omitempty"`
	NoCacheFilter    []string          `json:"noCacheFilter,omitempty"` // stages
	Pull             bool              `json:"pull,omitempty"`
	Platforms        []string          `json:"platforms,omitempty"`
	Secrets          []BuildSecret     `json:"secrets,omitempty"`
	SSH              []BuildSSH        `json:"ssh,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Tags             []string          `json:"tags,omitempty"` // beside the service's image
	// Contexts are the additional ones: name to an absolute directory, a URL
	// such as docker-image://REF, or service:NAME.
	Contexts     map[string]string `json:"contexts,omitempty"`
	Network      string            `json:"network,omitempty"`    // "", host, none
	ExtraHosts   []string          `json:"extraHosts,omitempty"` // HOST=IP
	ShmSize      int64             `json:"shmSize,omitempty"`    // bytes
	Ulimits      []string          `json:"ulimits,omitempty"`    // NAME=SOFT:HARD
	Entitlements []string          `json:"entitlements,omitempty"`
	Privileged   bool              `json:"privileged,omitempty"`
	Provenance   string            `json:"provenance,omitempty"`
	SBOM         string            `json:"sbom,omitempty"`
}

// BuildSecret is a secret of a build: a file, or a variable of the environment
// in which the project was loaded.
type BuildSecret struct {
	ID          string `json:"id"`
	File        string `json:"file,omitempty"` // absolute
	Environment string `json:"environment,omitempty"`
	// Value is the variable's; it never leaves the process that loaded it.
	Value string `json:"-"`
}

// BuildSSH is an agent's socket or keys that a build may use; without paths it
// is the agent of SSH_AUTH_SOCK.
type BuildSSH struct {
	ID    string   `json:"id"`
	Paths []string `json:"paths,omitempty"`
}

// ServiceContexts are the services whose images the build begins with, sorted.
func (b *Build) ServiceContexts() []string {
	if b == nil {
		return nil
	}
	var names []string
	for _, c := range b.Contexts {
		if name, ok := strings.CutPrefix(c, types.ServicePrefix); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// LayoutPrefix begins a context that is an image in an OCI layout:
// DIRECTORY[:TAG][@DIGEST].
const LayoutPrefix = "oci-layout://"

// LocalContext is the name by which BuildKit asks a session for the context's
// directory. Other directories have the names that LocalName gives.
const LocalContext = "context"

// LocalName is the name by which BuildKit asks for a directory, or for the
// directory that has an inline Dockerfile only.
func LocalName(directory, inline string) string {
	return "dir-" + digest([]string{directory, inline})[:20]
}

// DockerfileDir is where a session has the Dockerfile: the host's directory,
// "" for one within a remote context and for an inline one.
func (b *Build) DockerfileDir() string {
	if b.DockerfileInline == "" && filepath.IsAbs(b.Dockerfile) && Directory(b.Context) != "" {
		return filepath.Dir(b.Dockerfile)
	}
	return ""
}

// Remote says that a context is no directory of this host.
func Remote(context string) bool {
	if strings.Contains(context, "://") {
		return true
	}
	for _, prefix := range []string{"github.com/", "git@", types.ServicePrefix} {
		if strings.HasPrefix(context, prefix) {
			return true
		}
	}
	return false
}

// Directory returns the host's directory that a context means, "" if it is none.
func Directory(context string) string {
	if dir, ok := strings.CutPrefix(context, "local://"); ok {
		return dir
	}
	if Remote(context) {
		return ""
	}
	return context
}

// build translates the key build; nil when the service has none.
func (t *translator) build(s types.ServiceConfig) *Build {
	in := s.Build
	if in == nil {
		return nil
	}
	b := &Build{
		Context: in.Context, DockerfileInline: in.DockerfileInline, Args: t.buildArgs(in), Target: in.Target,
		CacheFrom: t.caches(s, "cache_from", in.CacheFrom, ReadCacheFrom), CacheTo: t.caches(s, "cache_to", in.CacheTo, ReadCacheTo), NoCache: in.NoCache, NoCacheFilter: in.NoCacheFilter, Pull: in.Pull,
		Labels: nonEmpty(in.Labels), Tags: in.Tags, Contexts: nonEmpty(in.AdditionalContexts), ShmSize: int64(in.ShmSize),
		Entitlements: in.Entitlements, Privileged: in.Privileged, Provenance: in.Provenance, SBOM: in.SBOM,
		Platforms: in.Platforms, Network: in.Network,
	}
	if len(in.ExtraHosts) > 0 {
		b.ExtraHosts = in.ExtraHosts.AsList("=")
		slices.Sort(b.ExtraHosts)
	}
	if b.Network == "default" || b.Network == "bridge" {
		b.Network = ""
	}
	if b.DockerfileInline == "" {
		b.Dockerfile = first(in.Dockerfile, "Dockerfile")
		if dir := Directory(b.Context); dir != "" {
			b.Dockerfile = absolute(dir, b.Dockerfile)
		}
	}
	if run := t.platform(s); len(b.Platforms) == 0 && run != "" {
		b.Platforms = []string{run}
	}
	for _, name := range slices.Sorted(maps.Keys(in.Ulimits)) {
		u := in.Ulimits[name]
		soft, hard := u.Soft, u.Hard
		if u.Single != 0 {
			soft, hard = u.Single, u.Single
		}
		b.Ulimits = append(b.Ulimits, fmt.Sprintf("%s=%d:%d", name, soft, hard))
	}
	for _, key := range in.SSH {
		if key.Path == "" {
			b.SSH = append(b.SSH, BuildSSH{ID: key.ID})
		} else {
			b.SSH = append(b.SSH, BuildSSH{ID: key.ID, Paths: strings.Split(key.Path, ",")})
		}
	}
	t.buildSecrets(s, b)
	t.checkBuild(s, b)
	return b
}

// caches makes the directories of local ones absolute.
func (t *translator) caches(s types.ServiceConfig, key string, list []string, read func(string) ([]Cache, error)) (out []string) {
	for i, text := range list {
		read, err := read(text)
		if err != nil {
			t.problem(s, []string{"build", key, fmt.Sprint(i)}, "%v", err)
			continue
		}
		for _, c := range read {
			if c.Dir() != "" {
				c.within(t.model.WorkingDir)
				text = c.String()
			}
		}
		out = append(out, text)
	}
	return out
}

// buildArgs leaves out those without a value here, so that the Dockerfile's
// default counts.
func (t *translator) buildArgs(in *types.BuildConfig) map[string]string {
	var args map[string]string
	for k, v := range in.Args {
		value, ok := "", v != nil
		if ok {
			value = *v
		} else {
			value, ok = t.in.options.Environment[k]
		}
		if !ok {
			continue
		}
		if args == nil {
			args = map[string]string{}
		}
		args[k] = value
	}
	return args
}

func (t *translator) buildSecrets(s types.ServiceConfig, b *Build) {
	for _, ref := range s.Build.Secrets {
		from, known := t.model.Secrets[ref.Source]
		if !known {
			t.problem(s, []string{"build", "secrets"}, "secret %q is not defined", ref.Source)
			continue
		}
		secret := BuildSecret{ID: first(ref.Target, ref.Source), File: from.File, Environment: from.Environment}
		if secret.Environment != "" {
			value, set := t.variable(types.FileObjectConfig(from))
			if !set {
				t.problem(s, []string{"build", "secrets"}, "secret %q: the variable %q is not set", ref.Source, secret.Environment)
			}
			secret.Value = value
		} else if why := readable(secret.File); why != "" {
			t.problem(s, []string{"build", "secrets"}, "cannot use file %q of secret %q: %s", secret.File, ref.Source, why)
		}
		b.Secrets = append(b.Secrets, secret)
	}
}

// platform is what a service runs on, "" for what suits the host.
func (t *translator) platform(s types.ServiceConfig) string {
	return first(s.Platform, t.in.options.Environment["DOCKER_DEFAULT_PLATFORM"])
}

func samePlatform(a string, b ocispec.Platform) bool {
	p, err := platforms.Parse(a)
	return err == nil && platforms.OnlyStrict(p).Match(b)
}

// ToRun is what of the platforms is built when only a container is wanted: the
// one that the service asks for, else the host's, else the first.
func (b *Build) ToRun(asked string, host ocispec.Platform) []string {
	if asked != "" || len(b.Platforms) < 2 {
		if asked != "" {
			return []string{asked}
		}
		return b.Platforms
	}
	for _, p := range b.Platforms {
		if parsed, err := platforms.Parse(p); err == nil && platforms.Only(host).Match(parsed) {
			return []string{p}
		}
	}
	return b.Platforms[:1]
}

// checkBuild finds what BuildKit would refuse with a worse message. Directories
// are looked at when they are built: who only runs the image needs none.
func (t *translator) checkBuild(s types.ServiceConfig, b *Build) {
	run, named := t.platform(s), len(b.Platforms) == 0
	for i, p := range b.Platforms {
		parsed, err := platforms.Parse(p)
		switch {
		case err != nil:
			t.problem(s, []string{"build", "platforms", fmt.Sprint(i)}, "platform %q is not OS/ARCHITECTURE such as linux/amd64", p)
		case run != "" && samePlatform(run, parsed):
			named = true
		}
	}
	if run != "" && !named {
		at := []string{"build", "platforms"}
		if s.Platform != "" {
			t.problem(s, at, "the service runs on %q (platform), but is not built for it", run)
		} else {
			t.problem(s, at, "the service runs on %q (DOCKER_DEFAULT_PLATFORM), but is not built for it", run)
		}
	}
	for i, tag := range b.Tags {
		if _, err := reference.ParseNormalizedNamed(tag); err != nil {
			t.problem(s, []string{"build", "tags", fmt.Sprint(i)}, "tag %q is not valid: %s", tag, err)
		}
	}
	if b.Network != "" && b.Network != "host" && b.Network != "none" {
		t.problem(s, []string{"build", "network"}, "network %q is not supported for builds: use default, host or none", b.Network)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Contexts)) {
		if service, ok := strings.CutPrefix(b.Contexts[name], types.ServicePrefix); ok {
			if _, known := t.model.Services[service]; !known {
				t.problem(s, []string{"build", "additional_contexts", name}, "service %q is not part of the project", service)
			} else if service == s.Name {
				t.problem(s, []string{"build", "additional_contexts", name}, "a build cannot begin with its own result")
			}
		} else if layout, ok := strings.CutPrefix(b.Contexts[name], LayoutPrefix); ok {
			b.Contexts[name] = LayoutPrefix + absolute(t.model.WorkingDir, layout)
		}
	}
	for i, e := range b.Entitlements {
		if e != "network.host" && e != "security.insecure" {
			t.problem(s, []string{"build", "entitlements", fmt.Sprint(i)}, "entitlement %q is not supported: use network.host or security.insecure", e)
		}
	}
}

// builds finds images that two services would build differently under one
// name, and builds that begin with each other's results.
func (c *projectCheck) builds() {
	built := map[string]*Service{}
	for i := range c.project.Services {
		s := &c.project.Services[i]
		if s.Build == nil {
			continue
		}
		other := built[s.Image]
		if other == nil {
			built[s.Image] = s
		} else if digest(other.Build) != digest(s.Build) {
			c.add(s, s.position("build"), "image %q is also built by service %q, in another way: give one of them another image", s.Image, other.Name)
		}
		if cycle := c.buildCycle(s, nil); cycle != nil {
			c.add(s, s.position("build"), "builds begin with each other's results: %s", strings.Join(cycle, " -> "))
		}
	}
}

func (c *projectCheck) buildCycle(s *Service, path []string) []string {
	path = append(path, s.Name)
	for _, name := range s.Build.ServiceContexts() {
		next, ok := c.project.Service(name)
		if !ok {
			continue
		}
		if slices.Contains(path, name) {
			return append(slices.Clone(path), name)
		}
		if found := c.buildCycle(next, path); found != nil {
			return found
		}
	}
	return nil
}

// shareBuilds gives services that use an image which another one builds that
// build: nobody has to know which of them is asked for.
func (p *Project) shareBuilds() {
	builders := map[string]*Service{}
	for i := range p.Services {
		if s := &p.Services[i]; s.Build != nil && builders[canonical(s.Image)] == nil {
			builders[canonical(s.Image)] = s
		}
	}
	for i := range p.Services {
		s := &p.Services[i]
		if from := builders[canonical(s.Image)]; s.Build == nil && from != nil && s.Platform == from.Platform {
			s.Build, s.ImageGiven = from.Build, from.ImageGiven
		}
	}
}

// canonical is an image's whole name; one that is malformed stays as it is.
func canonical(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.TagNameOnly(named).String()
}

// limitIsolation accepts what Linux has.
var limitIsolation = oneOf(windowsOnly, "default")
