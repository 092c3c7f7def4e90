package project

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"gopkg.in/yaml.v3"
)

// Publication is a project as others are to get it: one compose file whose
// variables are left to them, and what it names beside itself.
type Publication struct {
	Compose  []byte
	EnvFiles []EnvFile
	// Concerns are what the author may not want to give away: paths of this
	// host, and what looks like a secret.
	Concerns []string
}

// EnvFile is a file of environment variables, by the name that the published
// compose file has for it.
type EnvFile struct{ Name, Path string }

// LoadPublication reads a project for being published. All of its services must
// have an image that others can pull, and all files must be local: a project
// that includes others cannot be published.
func LoadPublication(ctx context.Context, opts Options) (*Publication, []Warning, error) {
	in, warnings, err := read(ctx, opts)
	if err != nil {
		return nil, warnings, err
	}
	if problems := in.bound(); len(problems) > 0 {
		return nil, warnings, newError(errdefs.ErrNotImplemented, "", problems)
	}
	m := &Model{}
	more, err := m.loadTree(ctx, in, loading{noInterpolate: true, noNormalize: true, noPathResolution: true})
	warnings = append(warnings, more...)
	if err != nil {
		return nil, warnings, err
	}
	if !slices.ContainsFunc(in.sources.layers, func(l *layer) bool { return child(l.root, "name") != nil }) {
		delete(m.tree, "name") // it is that of a directory here
	}
	p := &Publication{}
	var problems []Problem
	for _, name := range m.Services() {
		service := m.service(name)
		if image, _ := service["image"].(string); image == "" {
			problems = append(problems, Problem{Position: in.everything().position("services", name), Service: name, Text: "has no image that others could pull: give it one"})
		}
		delete(service, "build") // the image is what others get
		delete(service, "develop")
		p.takeEnvFiles(in.dir, service)
		p.look(name, service)
	}
	if err := newError(errdefs.ErrInvalidArgument, "", problems); err != nil {
		return nil, warnings, err
	}
	for _, name := range m.keys("configs") {
		config, _ := m.tree["configs"].(map[string]any)[name].(map[string]any)
		if content, _ := config["content"].(string); literal(content) {
			p.Concerns = append(p.Concerns, fmt.Sprintf("config %s has its content in the file", name))
		}
	}
	for _, section := range []string{"configs", "secrets"} {
		for _, name := range m.keys(section) {
			entry, _ := m.tree[section].(map[string]any)[name].(map[string]any)
			if file, _ := entry["file"].(string); file != "" {
				p.Concerns = append(p.Concerns, fmt.Sprintf("%s %s is the file %q, which is not published", strings.TrimSuffix(section, "s"), name, file))
			}
		}
	}
	p.Compose, err = yaml.Marshal(m.tree)
	return p, warnings, err
}

// bound lists what ties a project to other files than its own.
func (in *input) bound() []Problem {
	var out []Problem
	for _, l := range in.sources.layers {
		if key, _ := entry(l.root, "include"); key != nil {
			out = append(out, Problem{Position: l.position(key), Text: "a project that includes others cannot be published"})
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(in.sources.remote.files)) {
		out = append(out, Problem{Text: fmt.Sprintf("%q comes from elsewhere, and cannot be published again", ref)})
	}
	return out
}

// takeEnvFiles gives a service's env files names without a place.
func (p *Publication) takeEnvFiles(dir string, service map[string]any) {
	list, _ := service["env_file"].([]any)
	for i, e := range list {
		path, _ := e.(string)
		object, isObject := e.(map[string]any)
		if isObject {
			path, _ = object["path"].(string)
		}
		at := slices.IndexFunc(p.EnvFiles, func(f EnvFile) bool { return f.Path == absolute(dir, path) })
		if at < 0 {
			at = len(p.EnvFiles)
			p.EnvFiles = append(p.EnvFiles, EnvFile{Name: fmt.Sprintf("%d.env", at), Path: absolute(dir, path)})
		}
		if isObject {
			object["path"] = p.EnvFiles[at].Name
		} else {
			list[i] = p.EnvFiles[at].Name
		}
	}
}

var secretName = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|api_?key|private_?key|access_?key`)

// look notes what a service gives away.
func (p *Publication) look(name string, service map[string]any) {
	note := func(format string, args ...any) {
		p.Concerns = append(p.Concerns, fmt.Sprintf("service %s ", name)+fmt.Sprintf(format, args...))
	}
	environment := map[string]any{}
	switch given := service["environment"].(type) {
	case map[string]any:
		environment = given
	case []any:
		for _, e := range given {
			if key, value, ok := strings.Cut(fmt.Sprint(e), "="); ok {
				environment[key] = value
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(environment)) {
		if value := environment[key]; value != nil && secretName.MatchString(key) && literal(fmt.Sprint(value)) {
			note("has the value of %s in the file", key)
		}
	}
	volumes, _ := service["volumes"].([]any)
	for _, v := range volumes {
		source := ""
		switch v := v.(type) {
		case string:
			source, _, _ = strings.Cut(v, ":")
		case map[string]any:
			if v["type"] == "bind" {
				source, _ = v["source"].(string)
			}
		}
		if strings.HasPrefix(source, ".") || strings.HasPrefix(source, "~") || filepath.IsAbs(source) {
			note("mounts %q of the host", source)
		}
	}
}

// literal tells whether a value is more than a variable.
func literal(value string) bool {
	return value != "" && (!strings.HasPrefix(value, "$") || strings.HasPrefix(value, "$$"))
}
