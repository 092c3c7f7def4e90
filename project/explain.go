package project

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"gopkg.in/yaml.v3"
)

var (
	modelPath    = regexp.MustCompile(`\b(?:services|networks|volumes|configs|secrets|include|jobs|models)(?:\.[^\s:,'"]+)+`)
	unknownKeys  = regexp.MustCompile(`additional properties? ('[^']+'(?:, '[^']+')*) not allowed`)
	inFile       = regexp.MustCompile(`^(?:validating|failed to parse) (\S+): `)
	ofService    = regexp.MustCompile(`\bservice "([^"]+)"`)
	wrapping     = regexp.MustCompile(`^(?:error while interpolating|invalid interpolation format for) (\S+?)[:.](?:\s|$)`)
	variableName = regexp.MustCompile(`(?:variable|The) "?([A-Za-z_][A-Za-z0-9_]*)"? (?:is missing|variable is not set)`)
)

// explain turns compose-go's error into problems with positions, as far as its
// text names a path that the user's documents have.
func explain(err error, s *survey) error {
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
	for _, text := range paragraphs(err.Error()) {
		problems = append(problems, explainText(text, s))
	}
	return newError(class, "", problems)
}

// paragraphs splits joined errors; an error of several lines stays one.
func paragraphs(text string) []string {
	var out []string
	for _, line := range strings.Split(text, "\n") {
		if len(out) == 0 || wrapping.MatchString(line) {
			out = append(out, line)
			continue
		}
		out[len(out)-1] += " " + strings.TrimSpace(line)
	}
	return out
}

func explainText(text string, s *survey) Problem {
	p := Problem{Text: text}
	if m := inFile.FindStringSubmatch(text); m != nil {
		p.Position.File, p.Text = m[1], text[len(m[0]):]
		if at := yamlLine.FindStringSubmatchIndex(p.Text); at != nil {
			var e *Error
			if errors.As(yamlError(m[1], errors.New(p.Text)), &e) {
				return e.Problems[0]
			}
		}
	}
	if path := modelPath.FindString(text); path != "" {
		path = strings.TrimRight(path, ".")
		at := s.locate(path, variable(text))
		if m := unknownKeys.FindStringSubmatch(text); m != nil {
			key := strings.Trim(strings.Split(m[1], ", ")[0], "'")
			at = s.locate(path+"."+key, "")
		}
		if at != (Position{}) {
			p.Position = at
		}
	} else if m := ofService.FindStringSubmatch(text); m != nil {
		if at := s.position("services", m[1]); at != (Position{}) {
			p.Position = at
		}
	} else if m := unknownKeys.FindStringSubmatch(text); m != nil {
		if at, ok := s.at[strings.Trim(strings.Split(m[1], ", ")[0], "'")]; ok {
			p.Position = at
		}
	}
	p.Text = strings.TrimSpace(p.Text)
	return p
}

func variable(text string) string {
	if m := variableName.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// locate finds a dotted path, or the nearest thing above it. "[]" in the path
// is any item; the one that names the variable is taken, else the first.
func (s *survey) locate(path, variable string) Position {
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
			if variable != "" && mentions(it.node, variable) {
				chosen = it
				break
			}
		}
		rest := strings.Join(parts[i+1:], ".")
		if rest == "" {
			return chosen.position()
		}
		return s.locate(chosen.path+"."+rest, variable)
	}
	return s.position(parts...)
}

func mentions(n *yaml.Node, variable string) bool {
	if n.Kind == yaml.ScalarNode {
		return strings.Contains(n.Value, variable)
	}
	for _, c := range n.Content {
		if n.Kind != yaml.AliasNode && mentions(c, variable) {
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
