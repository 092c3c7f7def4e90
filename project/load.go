package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
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
	IgnoreUnsupported bool      // unsupported keys become warnings
	Stdin             io.Reader // nil: the process's
}

// Load reads compose files and translates them.
//
// It returns an *Error that lists all problems found, each with file, line and
// column where there is one. The error wraps errdefs.ErrNotImplemented for
// keys that Gantry does not honour, errdefs.ErrNotFound for a missing file or
// service, and errdefs.ErrInvalidArgument for everything else.
func Load(ctx context.Context, opts Options) (*Project, []Warning, error) {
	in, warnings, err := read(opts)
	if err != nil {
		return nil, warnings, err
	}
	model, more, err := in.model(ctx, loading{})
	warnings = append(warnings, place(more, in.sources)...)
	if err != nil {
		return nil, warnings, err
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
	p, err := translate(in, model, active, s)
	if err != nil {
		return nil, warnings, err
	}
	return p, warnings, p.Check()
}

const unsupportedHint = "remove what is not supported, or use --ignore-unsupported to run without it"

// input is all that a project is read from.
type input struct {
	options  *cli.ProjectOptions
	files    []types.ConfigFile
	dir      string
	profiles []string
	services []string
	sources  *sources
	whole    *survey
}

// everything surveys all documents, at most once.
func (in *input) everything() *survey {
	if in.whole == nil {
		in.whole = surveyAll(in.sources)
	}
	return in.whole
}

// read finds and reads the files and the environment.
func read(opts Options) (*input, []Warning, error) {
	var options *cli.ProjectOptions
	warnings, err := capture(func() (err error) {
		options, err = projectOptions(opts)
		return err
	})
	if err != nil {
		return nil, warnings, classify(err)
	}
	if len(options.ConfigPaths) == 0 {
		where, _ := options.GetWorkingDir()
		return nil, warnings, newError(errdefs.ErrNotFound, "", []Problem{{
			Text: fmt.Sprintf("no compose file found in %q or above; make a compose.yaml or name one with -f", where)}})
	}
	in := &input{options: options, services: opts.Services, profiles: profiles(opts.Profiles, options.Environment)}
	if in.dir, err = options.GetWorkingDir(); err != nil {
		return nil, warnings, err
	}
	for _, path := range options.ConfigPaths {
		file, err := readFile(path, opts.Stdin)
		if err != nil {
			return nil, warnings, err
		}
		in.files = append(in.files, file)
	}
	in.sources, err = parseSources(in.files, in.dir, options.Environment)
	return in, warnings, err
}

// projectOptions applies flags, environment and .env in Docker Compose's order
// of precedence.
func projectOptions(opts Options) (*cli.ProjectOptions, error) {
	environment := opts.Environment
	if environment == nil {
		environment = os.Environ()
	}
	env := types.NewMapping(environment)
	envFiles := opts.EnvFiles
	if list := env["COMPOSE_ENV_FILES"]; len(envFiles) == 0 && list != "" {
		envFiles = strings.Split(list, ",")
	}
	var disabled bool
	if v := env[consts.ComposeDisableDefaultEnvFile]; v != "" {
		var err error
		if disabled, err = strconv.ParseBool(v); err != nil {
			return nil, fmt.Errorf("%s=%q is not a boolean", consts.ComposeDisableDefaultEnvFile, v)
		}
	}
	withEnvFiles := func(o *cli.ProjectOptions) error {
		if disabled && len(envFiles) == 0 {
			return nil
		}
		return cli.WithEnvFiles(envFiles...)(o)
	}
	return cli.NewProjectOptions(opts.Files,
		cli.WithWorkingDirectory(opts.ProjectDirectory),
		cli.WithEnv(environment),
		withEnvFiles,
		cli.WithDotEnv,
		cli.WithConfigFileEnv,
		cli.WithDefaultConfigPath,
		// the compose file was perhaps found above: its directory has a .env too
		withEnvFiles,
		cli.WithDotEnv,
		cli.WithName(opts.Name),
	)
}

func profiles(wanted []string, env types.Mapping) []string {
	if len(wanted) > 0 {
		return wanted
	}
	var out []string
	for _, p := range strings.Split(env[consts.ComposeProfiles], ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func readFile(path string, stdin io.Reader) (types.ConfigFile, error) {
	if path == "-" {
		if stdin == nil {
			stdin = os.Stdin
		}
		content, err := io.ReadAll(stdin)
		if err != nil {
			return types.ConfigFile{}, fmt.Errorf("compose file from standard input: %w", err)
		}
		return types.ConfigFile{Filename: path, Content: content}, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return types.ConfigFile{}, err
	}
	content, err := os.ReadFile(abs)
	if err != nil {
		return types.ConfigFile{}, newError(fileClass(err), "", []Problem{{
			Position: Position{File: abs}, Text: fmt.Sprintf("cannot read compose file: %s", reason(err))}})
	}
	return types.ConfigFile{Filename: abs, Content: content}, nil
}

func fileClass(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.ErrNotFound
	}
	return errdefs.ErrInvalidArgument
}

// reason leaves out operation and path, which the caller names.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

func classify(err error) error {
	class := fileClass(err)
	if strings.HasPrefix(err.Error(), "couldn't find env file") {
		class = errdefs.ErrNotFound
	}
	return newError(class, "", []Problem{{Text: err.Error()}})
}

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
				return nil, newError(errdefs.ErrNotFound, "", []Problem{{Text: fmt.Sprintf("no such service: %q", name)}})
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
	return active.WithoutUnresolvedOptionalDependencies(), nil
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
