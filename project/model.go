package project

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/distribution/reference"
	godigest "github.com/opencontainers/go-digest"
	"gopkg.in/yaml.v3"
)

// ModelOptions say how far a model is resolved; the zero value resolves all.
type ModelOptions struct {
	NoInterpolate    bool // keep ${VARIABLES}
	NoNormalize      bool // leave defaults and implicit networks out
	NoPathResolution bool // keep relative paths
	NoConsistency    bool // do not check references
	NoEnvResolution  bool // keep env_file instead of what it holds
}

// Model is the merged compose files in the specification's terms, before they
// are translated: what `config` shows. Keys that Gantry does not honour are
// part of it.
type Model struct {
	name    string
	tree    map[string]any // with NoInterpolate
	project *types.Project // else
	env     types.Mapping
	files   []string
	escape  bool
}

// LoadModel reads compose files without translating them. Its errors are
// Load's, except that keys that Gantry does not honour are warnings.
func LoadModel(ctx context.Context, opts Options, how ModelOptions) (*Model, []Warning, error) {
	in, warnings, err := read(ctx, opts)
	if err != nil {
		return nil, warnings, err
	}
	l := loading{noInterpolate: how.NoInterpolate, noNormalize: how.NoNormalize, noPathResolution: how.NoPathResolution}
	m := &Model{env: in.options.Environment, escape: !how.NoInterpolate}
	for _, f := range in.files {
		m.files = append(m.files, f.Filename)
	}
	if how.NoInterpolate {
		more, err := m.loadTree(ctx, in, l)
		if err != nil {
			m = nil
		}
		return m, append(warnings, more...), err
	}
	model, more, err := in.model(ctx, l)
	warnings = append(warnings, place(more, in.sources)...)
	if err != nil {
		return nil, warnings, err
	}
	if !how.NoConsistency {
		if err := consistency(model, in.everything()); err != nil {
			return nil, warnings, err
		}
	}
	active, err := in.selected(model)
	if err != nil {
		return nil, warnings, err
	}
	s := surveyProject(in.sources, active)
	warnings = append(warnings, sortProblems(slices.Concat(s.warnings(), s.problems()))...)
	if !how.NoEnvResolution {
		if active, err = in.resolveFiles(active, s); err != nil {
			return nil, warnings, err
		}
	}
	m.project, m.name = active, active.Name
	return m, warnings, nil
}

// loadTree loads without binding to types, which need values.
func (m *Model) loadTree(ctx context.Context, in *input, l loading) ([]Warning, error) {
	in.everything()
	warnings, err := capture(func() (err error) {
		m.tree, err = loader.LoadModelWithContext(ctx, in.details(), in.loaderOptions(l))
		return err
	})
	if err != nil {
		return warnings, in.explain(err)
	}
	m.name, _ = m.tree["name"].(string)
	m.tree, err = selectTree(m.tree, in.services)
	return place(warnings, in.sources), err
}

// selectTree keeps the named services of a model that is not bound to types.
func selectTree(tree map[string]any, names []string) (map[string]any, error) {
	services, _ := tree["services"].(map[string]any)
	for _, name := range names {
		if _, ok := services[name]; !ok {
			return nil, noSuchService(name)
		}
	}
	if len(names) > 0 {
		maps.DeleteFunc(services, func(name string, _ any) bool { return !slices.Contains(names, name) })
	}
	return tree, nil
}

// Name is the project's name.
func (m *Model) Name() string { return m.name }

// Files lists the compose files, "-" for standard input.
func (m *Model) Files() []string { return m.files }

// YAML is the canonical form. With interpolation done, "$" is written as "$$",
// so that the result can be loaded again.
func (m *Model) YAML() ([]byte, error) {
	if m.project != nil {
		out, err := m.project.MarshalYAML()
		return m.escaped(out), err
	}
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(m.tree); err != nil {
		return nil, err
	}
	return b.Bytes(), encoder.Close()
}

// JSON is the canonical form, indented by two spaces.
func (m *Model) JSON() ([]byte, error) {
	if m.project != nil {
		out, err := m.project.MarshalJSON()
		return append(m.escaped(out), '\n'), err
	}
	out, err := json.MarshalIndent(m.tree, "", "  ")
	return append(out, '\n'), err
}

func (m *Model) escaped(out []byte) []byte {
	if !m.escape {
		return out
	}
	return bytes.ReplaceAll(out, []byte("$"), []byte("$$"))
}

// Pin names the services' images by the digests that digestOf tells. The model
// must have been interpolated.
func (m *Model) Pin(digestOf func(reference.Named) (godigest.Digest, error)) error {
	pinned, err := m.project.WithImagesResolved(digestOf)
	if err == nil {
		m.project = pinned
	}
	return err
}

// Lock is an override file that holds the services' images alone.
func (m *Model) Lock() *Model {
	out := *m
	out.project = &types.Project{Services: types.Services{}}
	for name, s := range m.project.Services {
		out.project.Services[name] = types.ServiceConfig{ContainerSpec: types.ContainerSpec{Image: s.Image}}
	}
	return &out
}

// Models lists the keys of the language models.
func (m *Model) Models() []string {
	if m.project == nil {
		return m.keys("models")
	}
	return slices.Sorted(maps.Keys(m.project.Models))
}

// Services lists the active services; without interpolation, all.
func (m *Model) Services() []string {
	if m.project == nil {
		return m.keys("services")
	}
	return m.project.ServiceNames()
}

// Volumes lists the keys of the named volumes.
func (m *Model) Volumes() []string {
	if m.project == nil {
		return m.keys("volumes")
	}
	return m.project.VolumeNames()
}

// Networks lists the keys of the networks.
func (m *Model) Networks() []string {
	if m.project == nil {
		return m.keys("networks")
	}
	return m.project.NetworkNames()
}

// Images lists the services' images, sorted and without repetition.
func (m *Model) Images() []string {
	images := map[string]bool{}
	for _, name := range m.Services() {
		var image string
		if m.project != nil {
			image = m.project.Services[name].Image
		} else {
			image, _ = m.service(name)["image"].(string)
		}
		images[first(image, m.name+"-"+name)] = true
	}
	return slices.Sorted(maps.Keys(images))
}

// Profiles lists all profiles that services name, sorted.
func (m *Model) Profiles() []string {
	found := map[string]bool{}
	if m.project != nil {
		for _, p := range m.project.AllServices().GetProfiles() {
			found[p] = true
		}
	}
	for _, name := range m.keys("services") {
		list, _ := m.service(name)["profiles"].([]any)
		for _, p := range list {
			found[fmt.Sprint(p)] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// Environment lists KEY=VALUE of what variables are replaced with, sorted.
func (m *Model) Environment() []string {
	env := m.env.Clone()
	env[consts.ComposeProjectName] = m.name
	return env.Values()
}

// Variable is a variable that the files use.
type Variable struct {
	Name      string `json:"name"`
	Required  bool   `json:"required"`
	Default   string `json:"default,omitempty"`   // ${NAME:-DEFAULT}
	Alternate string `json:"alternate,omitempty"` // ${NAME:+ALTERNATE}
}

// Variables lists the variables of the files, sorted. The model must have been
// loaded with NoInterpolate.
func (m *Model) Variables() []Variable {
	var out []Variable
	for _, v := range template.ExtractVariables(m.tree, template.DefaultPattern) {
		out = append(out, Variable{Name: v.Name, Required: v.Required, Default: v.DefaultValue, Alternate: v.PresenceValue})
	}
	slices.SortFunc(out, func(a, b Variable) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (m *Model) service(name string) map[string]any {
	services, _ := m.tree["services"].(map[string]any)
	service, _ := services[name].(map[string]any)
	return service
}

func (m *Model) keys(section string) []string {
	entries, _ := m.tree[section].(map[string]any)
	return slices.Sorted(maps.Keys(entries))
}
