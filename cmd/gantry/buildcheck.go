package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gantry/project"

	"github.com/moby/buildkit/client"
)

// chosenBuilds are the services that build would build, each image once.
func (o *buildOptions) chosenBuilds(ctx context.Context, c *cli, services []string) (out []*project.Service, err error) {
	t, err := c.load(ctx, services...)
	if err != nil {
		return nil, err
	}
	if err := o.apply(t.definition); err != nil {
		return nil, err
	}
	wanted := services
	if o.deps && len(services) > 0 {
		if wanted, err = t.definition.Closure(services...); err != nil {
			return nil, err
		}
	}
	seen := map[*project.Build]bool{}
	for i := range t.definition.Services {
		s := &t.definition.Services[i]
		if s.Build == nil || seen[s.Build] || len(wanted) > 0 && !slices.Contains(wanted, s.Name) {
			continue
		}
		seen[s.Build] = true
		for name, from := range s.Build.Contexts { // what other services build
			if dep, ok := t.definition.Service(strings.TrimPrefix(from, "service:")); ok && strings.HasPrefix(from, "service:") {
				s.Build.Contexts[name] = "docker-image://" + dep.Image
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// runCheck is docker build --check of each service's build.
func (o *buildOptions) runCheck(ctx context.Context, c *cli, services []string) error {
	chosen, err := o.chosenBuilds(ctx, c, services)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range chosen {
		args, stdin := checkArguments(s.Build)
		of := *c
		if stdin != "" {
			of.in = strings.NewReader(stdin)
		}
		fmt.Fprintf(c.out, "%s:\n", s.Name)
		errs = append(errs, runManagement(ctx, &of, args))
	}
	return errors.Join(errs...)
}

// checkArguments are a build's, and the Dockerfile when that is inline.
func checkArguments(b *project.Build) (args []string, stdin string) {
	args = []string{"image", "build", "--check", "--file", b.Dockerfile}
	if b.DockerfileInline != "" {
		args[len(args)-1], stdin = "-", b.DockerfileInline
	}
	if b.Target != "" {
		args = append(args, "--target", b.Target)
	}
	for _, k := range slices.Sorted(maps.Keys(b.Args)) {
		args = append(args, "--build-arg", k+"="+b.Args[k])
	}
	for _, k := range slices.Sorted(maps.Keys(b.Contexts)) {
		args = append(args, "--build-context", k+"="+b.Contexts[k])
	}
	if len(b.Platforms) > 0 {
		args = append(args, "--platform", strings.Join(b.Platforms, ","))
	}
	return append(args, "--", b.Context), stdin
}

// bakeTarget is a build as a bake file has it. Source: buildx, bake file
// reference.
type bakeTarget struct {
	Context          string            `json:"context,omitempty"`
	Contexts         map[string]string `json:"contexts,omitempty"`
	Dockerfile       string            `json:"dockerfile,omitempty"`
	DockerfileInline string            `json:"dockerfile-inline,omitempty"`
	Args             map[string]string `json:"args,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Tags             []string          `json:"tags,omitempty"`
	CacheFrom        []string          `json:"cache-from,omitempty"`
	CacheTo          []string          `json:"cache-to,omitempty"`
	Target           string            `json:"target,omitempty"`
	Secret           []string          `json:"secret,omitempty"`
	SSH              []string          `json:"ssh,omitempty"`
	Platforms        []string          `json:"platforms,omitempty"`
	Pull             bool              `json:"pull,omitempty"`
	NoCache          bool              `json:"no-cache,omitempty"`
	NoCacheFilter    []string          `json:"no-cache-filter,omitempty"`
	NetworkMode      string            `json:"network,omitempty"`
	ShmSize          int64             `json:"shm-size,omitempty"`
	Ulimits          []string          `json:"ulimits,omitempty"`
	Entitlements     []string          `json:"entitlements,omitempty"`
	ExtraHosts       map[string]string `json:"extra-hosts,omitempty"`
	Attest           []string          `json:"attest,omitempty"`
	Outputs          []string          `json:"output,omitempty"`
}

// runPrint writes the services' builds as a bake file.
func (o *buildOptions) runPrint(ctx context.Context, c *cli, services []string) error {
	chosen, err := o.chosenBuilds(ctx, c, services)
	if err != nil {
		return err
	}
	type group struct {
		Targets []string `json:"targets"`
	}
	file := struct {
		Group  map[string]group      `json:"group"`
		Target map[string]bakeTarget `json:"target"`
	}{map[string]group{}, map[string]bakeTarget{}}
	all := group{Targets: []string{}}
	for _, s := range chosen {
		name := strings.ReplaceAll(s.Name, ".", "_") // a dot would be a path
		all.Targets = append(all.Targets, name)
		file.Target[name] = o.bake(s)
	}
	file.Group["default"] = all
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s\n", text)
	return err
}

func (o *buildOptions) bake(s *project.Service) bakeTarget {
	b := s.Build
	t := bakeTarget{
		Context: b.Context, Contexts: b.Contexts, Dockerfile: b.Dockerfile, DockerfileInline: b.DockerfileInline, Args: b.Args, Labels: b.Labels,
		Tags: slices.Concat([]string{s.Image}, b.Tags), CacheFrom: b.CacheFrom, CacheTo: b.CacheTo, Target: b.Target, Platforms: b.Platforms,
		Pull: b.Pull, NoCache: b.NoCache, NoCacheFilter: b.NoCacheFilter, NetworkMode: b.Network, ShmSize: b.ShmSize, Ulimits: b.Ulimits,
		Entitlements: b.Entitlements, Outputs: []string{"type=" + client.ExporterDocker},
	}
	if o.push {
		t.Outputs = []string{"type=registry"}
	}
	if b.Privileged && !slices.Contains(t.Entitlements, "security.insecure") {
		t.Entitlements = append(slices.Clone(t.Entitlements), "security.insecure")
	}
	for _, h := range b.ExtraHosts {
		if t.ExtraHosts == nil {
			t.ExtraHosts = map[string]string{}
		}
		name, addr, _ := strings.Cut(h, "=")
		t.ExtraHosts[name] = addr
	}
	for _, secret := range b.Secrets {
		if secret.Environment != "" {
			t.Secret = append(t.Secret, "id="+secret.ID+",type=env,env="+secret.Environment)
		} else {
			t.Secret = append(t.Secret, "id="+secret.ID+",type=file,src="+secret.File)
		}
	}
	for _, key := range b.SSH {
		if len(key.Paths) > 0 {
			t.SSH = append(t.SSH, key.ID+"="+strings.Join(key.Paths, ","))
		} else {
			t.SSH = append(t.SSH, key.ID)
		}
	}
	for kind, value := range map[string]string{"provenance": b.Provenance, "sbom": b.SBOM} {
		switch value {
		case "":
		case "true":
			t.Attest = append(t.Attest, "type="+kind)
		case "false":
			t.Attest = append(t.Attest, "type="+kind+",disabled=true")
		default:
			t.Attest = append(t.Attest, "type="+kind+","+value)
		}
	}
	slices.Sort(t.Attest)
	return t
}
