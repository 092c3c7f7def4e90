package project

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/consts"
	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
)

// input is all that a project is read from.
type input struct {
	options  *cli.ProjectOptions
	files    []types.ConfigFile
	dir      string
	profiles []string
	services []string
	sources  *sources

	apiSocket      string
	registryConfig func() ([]byte, error)

	whole *survey
}

// everything surveys all documents, at most once.
func (in *input) everything() *survey {
	if in.whole == nil {
		in.whole = surveyAll(in.sources)
	}
	return in.whole
}

// read finds and reads the files and the environment.
func read(ctx context.Context, opts Options) (*input, []Warning, error) {
	// compiling the schema takes half as long as all else; it is done once
	go func() { _ = schema.Validate(map[string]any{}) }()
	far := &remotes{Fetcher: opts.Remote, files: map[string]string{}}
	var err error
	if opts.Files, err = far.all(ctx, opts.Files); err != nil {
		return nil, nil, err
	}
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
	in := &input{options: options, services: opts.Services, profiles: profiles(opts.Profiles, options.Environment),
		apiSocket: opts.APISocket, registryConfig: opts.RegistryConfig}
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
	in.sources, err = parseSources(ctx, in.files, in.dir, options.Environment, far)
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
