package docker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/tonistiigi/go-csvvalue"
)

// exporterMoby is what a Docker engine's image store is called among BuildKit's
// exporters.
const exporterMoby = "moby"

// allowDelete lets an output remove files outside of the working directory. It
// is the client's alone.
const allowDelete = "buildx.local.delete"

// outputs say where the result goes; without any, into the image store. Source:
// buildx, --output.
func (f *Front) outputs(o *buildOptions, s *buildkit.SolveOpt) error {
	names, err := tagged(o.tags)
	if err != nil {
		return err
	}
	asked, err := parseOutputs(o.outputs)
	if err != nil {
		return err
	}
	notes, err := annotations(o.annotations)
	if err != nil {
		return err
	}
	for _, e := range shorthands(asked, o.load, o.push) {
		if e.Type == "cacheonly" {
			continue
		}
		if err := f.output(o, &e, names); err != nil {
			return fmt.Errorf("--output type=%s: %w", strings.Replace(e.Type, exporterMoby, buildkit.ExporterImage, 1), err)
		}
		maps.Copy(e.Attrs, notes)
		s.Exports = append(s.Exports, e)
	}
	s.AllowedEntitlements = slices.DeleteFunc(s.AllowedEntitlements, func(e string) bool { return e == allowDelete })
	return nil
}

// tagged are the names that the result gets: with a tag, and separated by commas.
func tagged(tags []string) (string, error) {
	var names []string
	for _, t := range tags {
		ref, err := reference.ParseNormalizedNamed(t)
		if err != nil {
			return "", fmt.Errorf("invalid tag %q: %w", t, err)
		}
		names = append(names, reference.TagNameOnly(ref).String())
	}
	return strings.Join(names, ","), nil
}

// parseOutputs reads KEY=VALUE,…, a directory, or - for an archive on stdout.
func parseOutputs(texts []string) (out []buildkit.ExportEntry, err error) {
	for _, text := range texts {
		if text == "" {
			continue
		}
		e := buildkit.ExportEntry{Attrs: map[string]string{}}
		fields, err := csvvalue.Fields(text, nil)
		if err != nil {
			return nil, fmt.Errorf("--output %q: %w", text, err)
		}
		switch {
		case text == "-":
			e.Type, e.Attrs["dest"] = buildkit.ExporterTar, "-"
		case len(fields) == 1 && fields[0] == text && !strings.HasPrefix(text, "type="):
			e.Type, e.Attrs["dest"] = buildkit.ExporterLocal, text
		default:
			if e.Attrs, err = attributes(fields); err != nil {
				return nil, fmt.Errorf("--output %q: %w", text, err)
			}
			e.Type = e.Attrs["type"]
			delete(e.Attrs, "type")
		}
		if e.Type == "" {
			return nil, fmt.Errorf("--output %q: type is required for output", text)
		}
		out = append(out, e)
	}
	return out, nil
}

// attributes are fields KEY=VALUE by key.
func attributes(fields []string) (map[string]string, error) {
	out := map[string]string{}
	for _, field := range fields {
		k, v, ok := strings.Cut(field, "=")
		if !ok {
			return nil, fmt.Errorf("invalid value %s: write KEY=VALUE", field)
		}
		out[strings.TrimSpace(strings.ToLower(k))] = v
	}
	return out, nil
}

// shorthands adds what --load and --push stand for, and what is meant when
// nothing is said.
func shorthands(list []buildkit.ExportEntry, load, push bool) []buildkit.ExportEntry {
	pushed, loaded := false, false
	for i := range list {
		e := &list[i]
		if e.Type == "registry" {
			e.Type, e.Attrs["push"] = buildkit.ExporterImage, "true"
		}
		if e.Type == buildkit.ExporterDocker && e.Attrs["dest"] == "" && e.Attrs["tar"] != "false" {
			e.Type = buildkit.ExporterImage
		}
		if e.Type == buildkit.ExporterImage || e.Type == exporterMoby {
			e.Type, loaded = exporterMoby, true
			if push {
				e.Attrs["push"], pushed = "true", true
			}
		}
	}
	if push && !pushed || !loaded && (load || len(list) == 0) {
		e := buildkit.ExportEntry{Type: exporterMoby, Attrs: map[string]string{}}
		if push {
			e.Attrs["push"] = "true"
		}
		list = append(list, e)
	}
	return list
}

// output completes one output.
func (f *Front) output(o *buildOptions, e *buildkit.ExportEntry, names string) error {
	dest := e.Attrs["dest"]
	delete(e.Attrs, "dest")
	switch e.Type {
	case exporterMoby:
		if dest != "" {
			return fmt.Errorf("dest %q: an image goes to the image store; use type=oci or type=docker for a file", dest)
		}
		return storeOutput(e, names)
	case buildkit.ExporterLocal:
		return localOutput(o, e, dest)
	case buildkit.ExporterTar:
		return f.fileOutput(o, e, dest)
	case buildkit.ExporterOCI, buildkit.ExporterDocker:
		set(e.Attrs, "name", names)
		if tar, err := strconv.ParseBool(e.Attrs["tar"]); err == nil && !tar {
			return directoryOutput(e, dest)
		}
		return f.fileOutput(o, e, dest)
	}
	return errors.New("no such type: use docker, image, local, oci, registry, tar or cacheonly")
}

func storeOutput(e *buildkit.ExportEntry, names string) error {
	set(e.Attrs, "name", names)
	push, byDigest := e.Attrs["push"] == "true", e.Attrs["push-by-digest"] == "true"
	switch {
	case byDigest:
		return errors.New("push-by-digest is not supported: push a name, and use its digest")
	case push && e.Attrs["name"] == "":
		return errors.New("tag is needed when pushing to registry: use -t")
	case e.Attrs["context"] != "":
		return fmt.Errorf("context %q: the image goes to this daemon; use docker --context", e.Attrs["context"])
	}
	return nil
}

func localOutput(o *buildOptions, e *buildkit.ExportEntry, dest string) error {
	if o.iidfile != "" {
		return errIDFile
	}
	if err := directoryOutput(e, dest); err != nil {
		return err
	}
	mode, err := buildkit.ParseLocalExporterMode(e.Attrs["mode"])
	if err != nil || mode != buildkit.LocalExporterModeDelete || slices.Contains(o.allow, allowDelete) {
		return err
	}
	if inside, err := below(".", dest); err != nil || !inside {
		return errors.Join(err, fmt.Errorf("mode=delete for destination %q, which is not below the working directory, requires --allow=%s", dest, allowDelete))
	}
	return nil
}

var errIDFile = errors.New("local and tar exporters are incompatible with image ID file")

func directoryOutput(e *buildkit.ExportEntry, dest string) error {
	switch info, err := os.Stat(dest); {
	case dest == "":
		return errors.New("dest is required")
	case dest == "-":
		return errors.New("dest cannot be stdout for a directory")
	case err == nil && !info.IsDir():
		return fmt.Errorf("destination directory %s is a file", dest)
	case err != nil && !os.IsNotExist(err):
		return fmt.Errorf("invalid destination directory: %w", err)
	}
	e.OutputDir = dest
	return nil
}

// below tells whether a path, which need not exist, is inside of a directory,
// wherever symbolic links lead.
func below(dir, path string) (bool, error) {
	var real [2]string
	for i, p := range []string{dir, path} {
		p, err := filepath.Abs(p)
		if err != nil {
			return false, err
		}
		rest := ""
		for {
			if r, err := filepath.EvalSymlinks(p); err == nil {
				real[i] = filepath.Join(r, rest)
				break
			} else if !os.IsNotExist(err) || p == "/" {
				return false, err
			}
			p, rest = filepath.Dir(p), filepath.Join(filepath.Base(p), rest)
		}
	}
	rel, err := filepath.Rel(real[0], real[1])
	return err == nil && rel != "." && filepath.IsLocal(rel), err
}

// annotationKind is a level of an image, and a platform if it is for one alone.
var annotationKind = regexp.MustCompile(`^([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?$`)

// annotations reads [KIND[PLATFORM],…:]KEY=VALUE into an output's attributes.
func annotations(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range list {
		if text == "" {
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("invalid annotation %q, expected key=value", text)
		}
		kinds, name, ok := strings.Cut(key, ":")
		if !ok {
			out[exptypes.AnnotationKey{Key: key}.String()] = value
			continue
		}
		for kind := range strings.SplitSeq(kinds, ",") {
			m := annotationKind.FindStringSubmatch(kind)
			if m == nil {
				return nil, fmt.Errorf("invalid annotation type %q, expected type and optional platform in square brackets", kind)
			}
			k := exptypes.AnnotationKey{Type: m[1], Key: name}
			switch k.Type {
			case exptypes.AnnotationIndex, exptypes.AnnotationIndexDescriptor, exptypes.AnnotationManifest, exptypes.AnnotationManifestDescriptor:
			default:
				return nil, fmt.Errorf("unknown annotation type %q", k.Type)
			}
			if m[2] != "" {
				p, err := platforms.Parse(m[2])
				if err != nil {
					return nil, fmt.Errorf("invalid platform %q: %w", m[2], err)
				}
				k.Platform = &p
			}
			out[k.String()] = value
		}
	}
	return out, nil
}
