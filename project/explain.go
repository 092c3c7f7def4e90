package project

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/containerd/errdefs"
	"gopkg.in/yaml.v3"
)

var (
	modelPath    = regexp.MustCompile(`\b(?:services|networks|volumes|configs|secrets|include|jobs|models)(?:\.[^\s:,'"]+)+`)
	falseSchema  = regexp.MustCompile(`(\S+) false schema$`)
	additional   = regexp.MustCompile(`(\S*) ?additional properties? ('[^']+'(?:, '[^']+')*) not allowed`)
	decoding     = regexp.MustCompile(`^'(\w+\[[^']+)' (.*)$`)
	inFile       = regexp.MustCompile(`^(?:validating|failed to parse) (\S+): `)
	ofService    = regexp.MustCompile(`\bservice "([^"]+)"`)
	wrapping     = regexp.MustCompile(`^(?:error while interpolating|invalid interpolation format for) (\S+?)[:.](?:\s|$)`)
	variableName = regexp.MustCompile(`(?:variable|The) "?([A-Za-z_][A-Za-z0-9_]*)"? (?:is missing|variable is not set)`)
)

// explain turns compose-go's error into problems with positions, as far as its
// text names a path that the user's documents have.
func explain(err error, src *sources, s *survey) error {
	if err == nil {
		return nil
	}
	var mine *Error
	if errors.As(err, &mine) {
		return err
	}
	var class error = errdefs.ErrInvalidArgument
	if errors.Is(err, fs.ErrNotExist) {
		class = errdefs.ErrNotFound
	}
	var problems []Problem
	var missing *fs.PathError
	if errors.As(err, &missing) {
		return newError(class, "", []Problem{{
			Position: src.mention(missing.Path), Text: fmt.Sprintf("cannot read %q: %s", missing.Path, missing.Err),
		}})
	}
	for _, text := range paragraphs(err.Error()) {
		if unknown := unknownKeys(text, s); unknown != nil {
			problems = append(problems, unknown...)
			continue
		}
		p := explainText(text, s)
		if p.Position == (Position{}) && len(src.files) == 1 {
			p.Position.File = src.files[0]
		}
		problems = append(problems, p)
	}
	return newError(class, "", problems)
}

// unknownKeys rewrites what the schema says about keys that it does not have.
func unknownKeys(text string, s *survey) []Problem {
	var keys []string
	if m := falseSchema.FindStringSubmatch(text); m != nil {
		keys = []string{m[1]}
	} else if m := additional.FindStringSubmatch(text); m != nil {
		for _, key := range strings.Split(m[2], ", ") {
			keys = append(keys, strings.TrimPrefix(m[1]+"."+strings.Trim(key, "'"), "."))
		}
	}
	var problems []Problem
	for _, key := range keys {
		problems = append(problems, Problem{
			Position: s.locate(key, ""), Text: key + ": unknown key; check its spelling and its place",
		})
	}
	return problems
}

// paragraphs splits joined errors; an error of several lines stays one.
func paragraphs(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch m := decoding.FindStringSubmatch(line); {
		case line == "" || line == "decoding failed due to the following error(s):":
		case m != nil:
			path := strings.NewReplacer("[", ".", "]", "").Replace(m[1])
			out = append(out, path+": "+m[2])
		case len(out) == 0 || wrapping.MatchString(line):
			out = append(out, line)
		default:
			out[len(out)-1] += " " + line
		}
	}
	return out
}

func explainText(text string, s *survey) Problem {
	p := Problem{Text: text}
	if m := inFile.FindStringSubmatch(text); m != nil {
		p.Position.File, p.Text = m[1], text[len(m[0]):]
		if strings.HasPrefix(p.Text, "yaml: ") || strings.HasPrefix(p.Text, "line ") {
			var e *Error
			if errors.As(yamlError(m[1], errors.New(p.Text)), &e) {
				return e.Problems[0]
			}
		}
	}
	var at Position
	if path := modelPath.FindString(text); path != "" {
		at = s.locate(strings.TrimRight(path, "."), hint(text))
	} else if m := ofService.FindStringSubmatch(text); m != nil {
		at = s.position("services", m[1])
	} else {
		word, _, _ := strings.Cut(p.Text, " ")
		if at = s.position(word); at == (Position{}) {
			at = s.malformed(text)
		}
	}
	if at != (Position{}) {
		p.Position = at
	}
	p.Text = strings.TrimSpace(p.Text)
	return p
}

// malformed finds the item of a list that compose-go's own parsers reject with
// that text, which does not say where it stands.
func (s *survey) malformed(text string) Position {
	for _, path := range slices.Sorted(maps.Keys(s.items)) {
		for _, it := range s.items[path] {
			value, err := it.layer.expand(it.node), error(nil)
			switch long := it.node.Kind == yaml.MappingNode; {
			case strings.HasSuffix(path, ".ports") && !long:
				_, err = types.ParsePortConfig(value)
			case strings.HasSuffix(path, ".volumes") && !long:
				_, err = format.ParseVolume(value)
			case strings.HasSuffix(path, ".volumes") && strings.Contains(text, "field Source must not be empty"):
				if it.field("source") == "" && it.field("type") == "bind" {
					return it.position()
				}
			case strings.HasSuffix(path, ".devices") && strings.HasSuffix(text, ": "+value):
				return it.position()
			}
			if err != nil && strings.Contains(text, err.Error()) {
				return it.position()
			}
		}
	}
	return Position{}
}

// mention finds the scalar that names a file.
func (s *sources) mention(file string) Position {
	var find func(l *layer, n *yaml.Node, depth int) Position
	find = func(l *layer, n *yaml.Node, depth int) (at Position) {
		if n.Kind == yaml.ScalarNode && n.Value != "" && absolute(l.dir, l.expand(n)) == absolute(l.dir, file) {
			return l.position(n)
		}
		for i := 0; i < len(n.Content) && at == (Position{}) && depth < maxDepth; i++ {
			at = find(l, n.Content[i], depth+1)
		}
		return at
	}
	for _, l := range s.all() {
		if at := find(l, l.root, 0); at != (Position{}) {
			return at
		}
	}
	return Position{}
}

func variable(text string) string {
	if m := variableName.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// hint is a word that the mistaken value has in it: a variable, or what the
// text ends with.
func hint(text string) string {
	return first(variable(text), strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:]))
}

// locate finds a dotted path, or the nearest thing above it. "[]" in the path
// is any item; the one that has the hint in it is taken, else the first.
func (s *survey) locate(path, hint string) Position {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		if part != "[]" {
			continue
		}
		list := s.items[strings.Join(parts[:i], ".")]
		if len(list) == 0 {
			return s.position(parts[:i]...)
		}
		chosen := list[0]
		for _, it := range list {
			if hint != "" && mentions(it.node, hint) {
				chosen = it
				break
			}
		}
		rest := strings.Join(parts[i+1:], ".")
		if rest == "" {
			return chosen.position()
		}
		return s.locate(chosen.path+"."+rest, hint)
	}
	return s.position(parts...)
}

func mentions(n *yaml.Node, word string) bool {
	if n.Kind == yaml.ScalarNode {
		return strings.Contains(n.Value, word)
	}
	for _, c := range n.Content {
		if n.Kind != yaml.AliasNode && mentions(c, word) {
			return true
		}
	}
	return false
}

// place gives compose-go's warnings about a variable the place where it is
// used first.
func place(warnings []Warning, src *sources) []Warning {
	for i, w := range warnings {
		name := variable(w.Text)
		if w.Position != (Position{}) || name == "" {
			continue
		}
		use := regexp.MustCompile(fmt.Sprintf(`\$\{?%s\b`, regexp.QuoteMeta(name)))
		for _, l := range src.all() {
			if n := findScalar(l.root, use, 0); n != nil {
				warnings[i].Position = l.position(n)
				break
			}
		}
	}
	return warnings
}

func findScalar(n *yaml.Node, use *regexp.Regexp, depth int) *yaml.Node {
	if depth > maxDepth {
		return nil
	}
	if n.Kind == yaml.ScalarNode && use.MatchString(n.Value) {
		return n
	}
	for _, c := range n.Content {
		if found := findScalar(c, use, depth+1); found != nil {
			return found
		}
	}
	return nil
}
