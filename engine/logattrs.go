package engine

import (
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/containerd/errdefs"
)

// logAttrs are the attributes that a container's log options ask for in every
// entry: some of its labels and environment, and a tag. Source: Docker's
// json-file driver, options labels, labels-regex, env, env-regex and tag.
func logAttrs(rec *record, opts map[string]string) (map[string]string, error) {
	env := map[string]string{}
	for _, kv := range rec.Config.Env {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	out := map[string]string{}
	for _, source := range []struct {
		option string
		values map[string]string
	}{{"labels", rec.Config.Labels}, {"env", env}} {
		for _, name := range strings.Split(opts[source.option], ",") {
			if v, ok := source.values[name]; ok && name != "" {
				out[name] = v
			}
		}
		pattern := opts[source.option+"-regex"]
		if pattern == "" {
			continue
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("log option %s-regex=%q: %v: %w", source.option, pattern, err, errdefs.ErrInvalidArgument)
		}
		for name, v := range source.values {
			if re.MatchString(name) {
				out[name] = v
			}
		}
	}
	if t := opts["tag"]; t != "" {
		tag, err := logTag(rec, t)
		if err != nil {
			return nil, fmt.Errorf("log option tag=%q: %v: %w", t, err, errdefs.ErrInvalidArgument)
		}
		out["tag"] = tag
	}
	if len(out) == 0 {
		return nil, nil
	}
	return out, nil
}

// tagFields are what a log's tag can be made of.
type tagFields struct {
	ID, FullID, Name, FullName           string
	ImageID, ImageFullID, ImageName      string
	Command, Hostname, DaemonName        string
	ContainerID, ContainerName           string
	ContainerImageID, ContainerImageName string
}

func logTag(rec *record, text string) (string, error) {
	t, err := template.New("tag").Parse(text)
	if err != nil {
		return "", err
	}
	if err := terminates(t); err != nil {
		return "", err
	}
	path, args := commandOf(&rec.Config)
	image := strings.TrimPrefix(rec.ImageID, "sha256:")
	var b tagText
	err = t.Execute(&b, tagFields{
		ID: short(rec.ID), FullID: rec.ID, Name: rec.Name, FullName: rec.Name,
		ImageID: short(image), ImageFullID: image, ImageName: rec.Config.Image,
		Command: strings.Join(append([]string{path}, args...), " "), Hostname: rec.Config.Hostname, DaemonName: "gantry",
		ContainerID: rec.ID, ContainerName: "/" + rec.Name, ContainerImageID: rec.ImageID, ContainerImageName: rec.Config.Image,
	})
	return b.String(), err
}

// maxTag bounds a tag, which stands in every entry of the log, in bytes.
const maxTag = 4 << 10

// tagText takes in what a template writes, as far as a tag may be long.
type tagText struct{ strings.Builder }

func (t *tagText) Write(p []byte) (int, error) {
	if t.Len()+len(p) > maxTag {
		return 0, fmt.Errorf("it is longer than %d bytes", maxTag)
	}
	return t.Builder.Write(p)
}

// terminates refuses what lets a template of a few bytes run for ever, or fill
// the memory: loops, and templates within templates.
func terminates(t *template.Template) error {
	for _, part := range t.Templates() {
		for _, word := range []string{"{{range ", "{{template "} {
			if part.Tree != nil && strings.Contains(part.Root.String(), word) {
				return fmt.Errorf("%s is not supported in a tag", strings.Trim(word, "{ "))
			}
		}
	}
	return nil
}
