package project

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/interpolation"
	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/tree"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"gopkg.in/yaml.v3"
)

// Options say what to load. The zero value loads what lies in the current
// directory, with the process's environment.
type Options struct {
	Files            []string // as given with -f; "-" is Stdin
	ProjectDirectory string
	Name             string
	Profiles         []string
	EnvFiles         []string
	Environment      []string // KEY=VALUE; nil: the process's
	// Services selects services, their dependencies included; their profiles
	// count as enabled. None means all active ones.
	Services          []string
	IgnoreUnsupported bool // unsupported keys become warnings
	// Lenient is for verbs about what exists already, such as down and ps: what
	// could not be started is no error, no env_file, label_file or secret is
	// looked for, and there are no warnings. The project must not be started.
	Lenient bool
	Stdin   io.Reader // nil: the process's
	Remote  Fetcher   // nil: all files are local

	// For services with use_api_socket: the daemon's socket on its host, "" for
	// Docker's, and a config.json with the user's credentials, nil or empty for
	// none.
	APISocket      string
	RegistryConfig func() ([]byte, error)
}

// Load reads compose files and translates them.
//
// It returns an *Error that lists all problems found, each with file, line and
// column where there is one. The error wraps errdefs.ErrNotImplemented for
// keys that Gantry does not honour, errdefs.ErrNotFound for a missing file or
// service, and errdefs.ErrInvalidArgument for everything else.
func Load(ctx context.Context, opts Options) (*Project, []Warning, error) {
	in, warnings, err := read(ctx, opts)
	if err != nil {
		return nil, warnings, err
	}
	model, more, err := in.model(ctx, loading{})
	warnings = append(warnings, place(more, in.sources)...)
	if err != nil {
		return nil, warnings, err
	}
	if opts.Lenient {
		return in.lenient(model)
	}
	if err := consistency(model, in.everything()); err != nil {
		return nil, warnings, err
	}
	active, err := in.selected(model)
	if err != nil {
		return nil, warnings, err
	}
	s := surveyProject(in.sources, active)
	warnings = append(warnings, s.warnings()...)
	unsupported := sortProblems(s.problems())
	if opts.IgnoreUnsupported {
		warnings = append(warnings, unsupported...)
	} else if err := newError(errdefs.ErrNotImplemented, unsupportedHint, unsupported); err != nil {
		return nil, warnings, err
	}
	if active, err = in.resolveFiles(active, s); err != nil {
		return nil, warnings, err
	}
	p, problems := translate(in, model, active, s)
	if err := newError(errdefs.ErrInvalidArgument, "", problems); err != nil {
		return nil, warnings, err
	}
	if err := p.Check(); err != nil {
		return nil, warnings, err
	}
	return p, warnings, nil
}

// lenient translates what can be translated.
func (in *input) lenient(model *types.Project) (*Project, []Warning, error) {
	for _, name := range in.services {
		if _, ok := model.AllServices()[name]; !ok {
			return nil, nil, noSuchService(name)
		}
	}
	active, err := model.WithServicesEnabled(in.services...)
	if err != nil {
		return nil, nil, classify(err)
	}
	active = active.WithoutUnresolvedOptionalDependencies().WithoutUnnecessaryResources()
	p, _ := translate(in, model, active, surveyProject(in.sources, active))
	return p, nil, nil
}

func noSuchService(name string) error {
	return newError(errdefs.ErrNotFound, "", []Problem{{Text: fmt.Sprintf("no such service: %q", name)}})
}

const unsupportedHint = "remove what is not supported, or use --ignore-unsupported to run without it"

// loading says how far compose-go resolves a model.
type loading struct {
	noInterpolate, noNormalize, noPathResolution bool
}

func (in *input) details() types.ConfigDetails {
	return types.ConfigDetails{
		WorkingDir:  in.dir,
		ConfigFiles: slices.Clone(in.files),
		Environment: in.options.Environment.Clone(),
	}
}

func (in *input) loaderOptions(l loading) func(*loader.Options) {
	return func(o *loader.Options) {
		o.SkipInterpolation = l.noInterpolate
		o.Interpolate.TypeCastMapping = in.sources.casts(o.Interpolate.TypeCastMapping)
		o.SkipNormalization = l.noNormalize
		o.ResolvePaths = !l.noPathResolution
		// done here, with positions, and after services have been selected
		o.SkipConsistencyCheck = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.Profiles = in.profiles
		if in.sources.remote.Fetcher != nil {
			o.ResourceLoaders = append([]loader.ResourceLoader{in.sources.remote}, o.ResourceLoaders...)
		}
		switch name := in.options.Environment[consts.ComposeProjectName]; {
		case in.options.Name != "":
			o.SetProjectName(in.options.Name, true)
		case name != "":
			o.SetProjectName(name, true)
		default:
			// a name in the files has precedence; the loader looks for it
			o.SetProjectName(loader.NormalizeProjectName(filepath.Base(in.dir)), false)
		}
	}
}

// casts keeps those of compose-go's type casts whose keys occur in the
// documents: it tries every one on every scalar, which takes longer than all
// else on large projects.
func (s *sources) casts(all map[tree.Path]interpolation.Cast) map[tree.Path]interpolation.Cast {
	present := map[string]bool{tree.PathMatchAll: true, tree.PathMatchList: true}
	var collect func(n *yaml.Node)
	collect = func(n *yaml.Node) {
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				present[c.Value] = true
			}
			collect(c)
		}
	}
	for _, l := range s.all() {
		collect(l.root)
		for _, layers := range s.bases {
			for _, b := range layers {
				collect(b.root)
			}
		}
	}
	kept := map[tree.Path]interpolation.Cast{}
	for path, cast := range all {
		if !slices.ContainsFunc(path.Parts(), func(part string) bool { return !present[part] }) {
			kept[path] = cast
		}
	}
	return kept
}

// model loads with compose-go; services outside of the profiles are disabled.
func (in *input) model(ctx context.Context, l loading) (*types.Project, []Warning, error) {
	in.everything() // reads what is extended, which casts looks at
	var model *types.Project
	warnings, err := capture(func() (err error) {
		model, err = loader.LoadWithContext(ctx, in.details(), in.loaderOptions(l))
		return err
	})
	if err != nil {
		return nil, warnings, in.explain(err)
	}
	return model, warnings, nil
}

func (in *input) explain(err error) error {
	if err.Error() == "project name must not be empty" {
		err = fmt.Errorf("directory %q makes no project name; give one with --project-name or the top-level key name", in.dir)
	}
	return explain(err, in.sources, in.everything())
}

// selected applies the selection of services and reads the files that those
// services need.
func (in *input) selected(model *types.Project) (*types.Project, error) {
	active := model
	if len(in.services) > 0 {
		all := model.AllServices()
		for _, name := range in.services {
			if _, ok := all[name]; !ok {
				return nil, noSuchService(name)
			}
		}
		enabled, err := model.WithServicesEnabled(in.services...)
		if err != nil {
			return nil, classify(err)
		}
		s := in.everything()
		if err := consistency(enabled, s); err != nil {
			return nil, err
		}
		if active, err = enabled.WithSelectedServices(in.services); err != nil {
			return nil, explain(err, in.sources, s)
		}
	}
	return active.WithoutUnresolvedOptionalDependencies().WithoutUnnecessaryResources(), nil
}

// resolveFiles reads env_file and label_file of the active services.
func (in *input) resolveFiles(active *types.Project, s *survey) (*types.Project, error) {
	var problems []Problem
	missing := func(service, key, path string) {
		if _, err := os.Stat(path); err != nil {
			problems = append(problems, Problem{Position: s.position("services", service, key), Service: service,
				Text: fmt.Sprintf("cannot read %s %q: %s", key, path, reason(err))})
		}
	}
	for _, name := range active.ServiceNames() {
		service := active.Services[name]
		for _, f := range service.EnvFiles {
			if f.Required {
				missing(name, "env_file", f.Path)
			}
		}
		for _, f := range service.LabelFiles {
			missing(name, "label_file", f)
		}
	}
	if err := newError(errdefs.ErrNotFound, "", problems); err != nil {
		return nil, err
	}
	resolved, err := active.WithServicesEnvironmentResolved(true)
	if err != nil {
		return nil, explain(err, in.sources, s)
	}
	resolved, err = resolved.WithServicesLabelsResolved(true)
	return resolved, explain(err, in.sources, s)
}
