package project

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	yamlv4 "go.yaml.in/yaml/v4"
	"gopkg.in/yaml.v3"
)

// layer is one YAML document as the user wrote it. compose-go merges the
// layers; here they are kept apart, so that every value can be traced to its
// file, line and column.
type layer struct {
	file     string
	dir      string // what relative paths of include and extends start from
	env      types.Mapping
	root     *yaml.Node // a mapping
	includes []*layer   // in the order in which they are merged, below root
}

// sources are all documents of a project, in the order in which they are
// merged: a later one overrides an earlier one.
type sources struct {
	files  []string
	layers []*layer
	bases  map[string][]*layer // files read for extends, by absolute path
	remote *remotes
}

// parseSources reads the user's files, and those that they include, into
// nodes. A file that cannot be read is left to compose-go, which says so; one
// that is not YAML is an error with its line.
func parseSources(ctx context.Context, files []types.ConfigFile, dir string, env types.Mapping, remote *remotes) (*sources, error) {
	s := &sources{bases: map[string][]*layer{}, remote: remote}
	for _, f := range files {
		s.files = append(s.files, f.Filename)
		layers, err := s.parse(ctx, f.Filename, f.Content, dir, env, nil)
		if err != nil {
			return nil, err
		}
		s.layers = append(s.layers, layers...)
	}
	return s, nil
}

func (s *sources) parse(ctx context.Context, file string, content []byte, dir string, env types.Mapping, parents []string) ([]*layer, error) {
	docs, err := parseDocuments(file, content)
	if err != nil {
		return nil, err
	}
	var layers []*layer
	for _, root := range docs {
		l := &layer{file: file, dir: dir, env: env, root: root}
		if l.includes, err = s.include(ctx, l, append(slices.Clone(parents), file)); err != nil {
			return nil, err
		}
		if err := s.remote.bases(ctx, l); err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// yamlLine matches what the YAML library says before the mistake itself.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:construct errors:\s+)?(?:while (parsing|scanning) .*?: )?(?:line (\d+)(?:, column (\d+))?: )?`)

var anyLine = regexp.MustCompile(`line (\d+)(?:, column (\d+))?`)

// parseDocuments returns the mappings of all documents in content.
func parseDocuments(file string, content []byte) ([]*yaml.Node, error) {
	var roots []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return roots, nil
		}
		if err != nil {
			// compose-go's parser knows columns
			if better := yamlv4.Unmarshal(content, new(any)); better != nil {
				err = better
			}
			if p, ok := tabbed(file, content, err); ok {
				return nil, newError(errdefs.ErrInvalidArgument, "", []Problem{p})
			}
			return nil, yamlError(file, err)
		}
		if len(doc.Content) == 1 && resolveAlias(doc.Content[0]).Kind == yaml.MappingNode {
			roots = append(roots, resolveAlias(doc.Content[0]))
		}
	}
}

// tabbed finds the tab that the library stumbled over, of which it only says
// that it is a character.
func tabbed(file string, content []byte, err error) (Problem, bool) {
	if !strings.Contains(err.Error(), "cannot start any token") {
		return Problem{}, false
	}
	for i, line := range strings.Split(string(content), "\n") {
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		if tab := strings.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(line) {
			return Problem{
				Position: Position{File: file, Line: i + 1, Column: tab + 1}, Text: "a tab indents this line; YAML allows spaces only",
			}, true
		}
	}
	return Problem{}, false
}

// yamlError moves the line that the YAML library reports in its text into a
// position.
func yamlError(file string, err error) error {
	text, at := err.Error(), Position{File: file}
	m := yamlLine.FindStringSubmatch(text)
	at.Line, _ = strconv.Atoi(m[2])
	at.Column, _ = strconv.Atoi(m[3])
	if m[1] == "parsing" && at.Line > 0 {
		at.Line++ // the library counts these from 0
	}
	text = text[len(m[0]):]
	if nested := yamlLine.FindStringSubmatch(text); nested[2] != "" { // from within a document
		at.Line, _ = strconv.Atoi(nested[2])
		text = text[len(nested[0]):]
	}
	if at.Line == 0 { // the place may stand in what the library says of the context
		if m := anyLine.FindStringSubmatch(err.Error()); m != nil {
			at.Line, _ = strconv.Atoi(m[1])
			at.Column, _ = strconv.Atoi(m[2])
		}
	}
	return newError(errdefs.ErrInvalidArgument, "", []Problem{{Position: at, Text: text}})
}

// include follows the include key. Source: compose specification, include.
func (s *sources) include(ctx context.Context, l *layer, parents []string) ([]*layer, error) {
	var included []*layer
	for _, entry := range items(child(l.root, "include")) {
		paths, projectDir, envFiles := []string{l.expand(entry)}, "", []string(nil)
		if entry.Kind == yaml.MappingNode {
			paths = l.expandAll(child(entry, "path"))
			projectDir = l.expand(child(entry, "project_directory"))
			envFiles = l.expandAll(child(entry, "env_file"))
		}
		for i, p := range paths {
			path, err := s.remote.fetch(ctx, p)
			if err != nil {
				return nil, unfetched(l.position(entry), err)
			}
			paths[i] = absolute(l.dir, path)
		}
		if len(paths) == 0 || slices.Contains(parents, paths[0]) {
			continue // compose-go names the mistake
		}
		if projectDir == "" {
			projectDir = filepath.Dir(paths[0])
		}
		projectDir = absolute(l.dir, projectDir)
		env := includeEnvironment(l, projectDir, envFiles)
		for _, p := range paths {
			content, err := os.ReadFile(p)
			if err != nil {
				continue
			}
			layers, err := s.parse(ctx, p, content, projectDir, env, parents)
			if err != nil {
				return nil, err
			}
			included = append(included, layers...)
		}
	}
	return included, nil
}

func includeEnvironment(l *layer, projectDir string, envFiles []string) types.Mapping {
	if len(envFiles) == 0 {
		envFiles = []string{filepath.Join(projectDir, ".env")}
	}
	env := l.env.Clone()
	for _, f := range envFiles {
		// a file that cannot be read is compose-go's to report
		if values, err := dotenv.GetEnvFromFile(l.env, []string{absolute(l.dir, f)}); err == nil {
			env.Merge(values)
		}
	}
	return env
}

// base reads a file that a service extends, without its includes.
func (s *sources) base(l *layer, file string) []*layer {
	path := absolute(l.dir, s.remote.fetched(file))
	if layers, ok := s.bases[path]; ok {
		return layers
	}
	var layers []*layer
	if content, err := os.ReadFile(path); err == nil {
		docs, _ := parseDocuments(path, content)
		for _, root := range docs {
			layers = append(layers, &layer{file: path, dir: filepath.Dir(path), env: l.env, root: root})
		}
	}
	s.bases[path] = layers
	return layers
}

// piece is one document's share of a mapping such as a service.
type piece struct {
	layer *layer
	key   *yaml.Node // where the mapping's name stands
	value *yaml.Node
}

func (p piece) position() Position { return p.layer.position(p.key) }

// all returns the layers with their includes, in the order in which they are
// merged.
func (s *sources) all() []*layer { return flatten(s.layers) }

func flatten(layers []*layer) []*layer {
	var out []*layer
	for _, l := range layers {
		out = append(append(out, flatten(l.includes)...), l)
	}
	return out
}

// service returns all that makes up a service, what it extends included, in
// the order in which it is merged.
func (s *sources) service(name string) []piece {
	var out []piece
	for _, l := range s.all() {
		out = append(out, s.extended(l, name, nil)...)
	}
	return out
}

func (s *sources) extended(l *layer, name string, seen []string) []piece {
	key, node := entry(child(l.root, "services"), name)
	ref := fmt.Sprintf("%s\x00%s", l.file, name)
	if node == nil || slices.Contains(seen, ref) {
		return nil
	}
	seen = append(slices.Clone(seen), ref)
	own := piece{layer: l, key: key, value: node}
	extends := child(node, "extends")
	if extends == nil {
		return []piece{own}
	}
	target, candidates := l.expand(extends), flatten([]*layer{l})
	if extends.Kind == yaml.MappingNode {
		target = l.expand(child(extends, "service"))
		if file := l.expand(child(extends, "file")); file != "" {
			candidates = s.base(l, file)
		}
	}
	var out []piece
	for _, c := range candidates {
		out = append(out, s.extended(c, target, seen)...)
	}
	return append(out, own)
}

// object returns what makes up a network, volume, config or secret.
func (s *sources) object(section, name string) []piece {
	var out []piece
	for _, l := range s.all() {
		if key, node := entry(child(l.root, section), name); node != nil {
			out = append(out, piece{layer: l, key: key, value: node})
		}
	}
	return out
}

func (l *layer) position(n *yaml.Node) Position {
	return Position{File: l.file, Line: n.Line, Column: n.Column}
}

// expand interpolates a scalar; what cannot be interpolated stays as it is.
func (l *layer) expand(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	value, err := template.SubstituteWithOptions(n.Value, l.env.Resolve, template.WithoutLogging)
	if err != nil {
		return n.Value
	}
	return value
}

// expandAll interpolates a scalar or a list of scalars.
func (l *layer) expandAll(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []string{l.expand(n)}
	}
	var out []string
	for _, item := range items(n) {
		out = append(out, l.expand(item))
	}
	return out
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// entries lists a mapping's keys and values with merge keys applied: a key of
// the mapping itself wins, then the first merged mapping that has it.
// Source: https://yaml.org/type/merge.html.
func entries(n *yaml.Node) []piece {
	return mergedEntries(resolveAlias(n), map[*yaml.Node]bool{})
}

func mergedEntries(n *yaml.Node, open map[*yaml.Node]bool) []piece {
	if n == nil || n.Kind != yaml.MappingNode || open[n] {
		return nil
	}
	open[n] = true
	defer delete(open, n)
	var own, merged []piece
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolveAlias(n.Content[i+1])
		if key.Value != "<<" {
			own = append(own, piece{key: key, value: value})
			continue
		}
		sources := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			sources = value.Content
		}
		for _, src := range sources {
			merged = append(merged, mergedEntries(resolveAlias(src), open)...)
		}
	}
	has := map[string]bool{}
	var out []piece
	for _, e := range slices.Concat(own, merged) {
		if !has[e.key.Value] {
			has[e.key.Value] = true
			out = append(out, e)
		}
	}
	return out
}

func entry(n *yaml.Node, name string) (key, value *yaml.Node) {
	for _, e := range entries(n) {
		if e.key.Value == name {
			return e.key, e.value
		}
	}
	return nil, nil
}

func child(n *yaml.Node, name string) *yaml.Node {
	_, value := entry(n, name)
	return value
}

func items(n *yaml.Node) []*yaml.Node {
	n = resolveAlias(n)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]*yaml.Node, len(n.Content))
	for i, item := range n.Content {
		out[i] = resolveAlias(item)
	}
	return out
}

// names lists what a section defines, over all layers.
func (s *sources) names(section string) []string {
	found := map[string]bool{}
	for _, l := range s.all() {
		for _, e := range entries(child(l.root, section)) {
			found[e.key.Value] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
