package project

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// support is what Gantry does with a key of the compose specification.
type support int

const (
	honoured support = iota
	accepted         // changes nothing on one host; never a problem
	noted            // changes nothing here, which the user is told
	refused          // not honoured: an error
)

// rule says what becomes of one key. The rules are the only place where that
// is decided; docs/compose-support.md is generated from them.
type rule struct {
	path    string // "*" is any name, "[]" any item of a list
	support support
	note    string // refused, noted: why and what to do; otherwise: remarks
	// limit returns why a scalar at path is not honoured, "" when it is.
	limit func(value string) string
	// remark returns what the user is told about a scalar at path, "" if nothing.
	remark func(value string) string
}

// ruleNode is a rule in the tree of all of them.
type ruleNode struct {
	rule     *rule
	children map[string]*ruleNode
}

func ruleTree(rules []rule) *ruleNode {
	root := &ruleNode{}
	for i := range rules {
		n := root
		for _, part := range strings.Split(rules[i].path, ".") {
			if n.children == nil {
				n.children = map[string]*ruleNode{}
			}
			next := n.children[part]
			if next == nil {
				next = &ruleNode{}
				n.children[part] = next
			}
			n = next
		}
		n.rule = &rules[i]
	}
	return root
}

// find returns the node for a key; nil means that the tables do not know it.
// An extension (x-*) is known wherever names are not the user's own.
func (n *ruleNode) find(key string) (node *ruleNode, extension bool) {
	if c := n.children[key]; c != nil {
		return c, false
	}
	if c := n.children["*"]; c != nil {
		return c, false
	}
	return nil, strings.HasPrefix(key, "x-")
}

// survey walks the user's documents once: it finds the keys that are not
// honoured and notes where every value stands.
type survey struct {
	found map[string][]Problem // refused and unknown keys, by path
	notes map[string][]Problem
	at    map[string]Position // keys, by path joined with "."
	items map[string][]item   // items of lists, by the list's path, in merge order
	depth int
}

// item is an item of a list.
type item struct {
	layer *layer
	node  *yaml.Node
	path  string // where the item itself is indexed
}

func newSurvey() *survey {
	return &survey{
		found: map[string][]Problem{}, notes: map[string][]Problem{},
		at: map[string]Position{}, items: map[string][]item{},
	}
}

// maxDepth bounds how deep documents are followed; compose files are about ten
// levels deep.
const maxDepth = 64

// visit follows one piece whose place in the tables is n.
func (s *survey) visit(p piece, path string, n *ruleNode) {
	if s.cleared(p.value, path) {
		return
	}
	s.at[path] = p.position()
	s.value(p.layer, p.value, p.position(), path, n)
}

func (s *survey) value(l *layer, node *yaml.Node, at Position, path string, n *ruleNode) {
	if s.depth++; s.depth > maxDepth {
		s.depth--
		return
	}
	defer func() { s.depth-- }()
	if n.rule != nil {
		if !s.judge(l, node, at, path, n.rule) {
			return
		}
	}
	switch node.Kind {
	case yaml.MappingNode:
		for _, e := range entries(node) {
			s.key(l, e, path+"."+e.key.Value, n)
		}
	case yaml.SequenceNode:
		each, known := n.children["[]"]
		for _, v := range items(node) {
			pos := l.position(v)
			itemPath := fmt.Sprintf("%s.%d", path, len(s.items[path]))
			s.items[path] = append(s.items[path], item{layer: l, node: v, path: itemPath})
			s.at[itemPath] = pos
			switch {
			case known:
				s.value(l, v, pos, itemPath, each)
			case v.Kind == yaml.MappingNode:
				s.unknown(pos, path)
			}
		}
	}
}

func (s *survey) key(l *layer, e piece, path string, n *ruleNode) {
	next, extension := n.find(e.key.Value)
	if extension {
		return
	}
	e.layer = l
	if next == nil {
		s.at[path] = e.position()
		s.unknown(e.position(), path)
		return
	}
	s.visit(e, path, next)
}

// judge applies a rule; it reports whether to look below.
func (s *survey) judge(l *layer, node *yaml.Node, at Position, path string, r *rule) bool {
	add := func(to map[string][]Problem, reason string) {
		if reason != "" {
			to[path] = append(to[path], Problem{Position: at, Text: path + ": " + reason})
		}
	}
	if node.Kind == yaml.ScalarNode && (r.limit != nil || r.remark != nil) {
		delete(s.found, path) // a later document's value replaces an earlier one's
		delete(s.notes, path)
		if r.limit != nil {
			add(s.found, r.limit(l.expand(node)))
		}
		if r.remark != nil {
			add(s.notes, r.remark(l.expand(node)))
		}
	}
	switch r.support {
	case refused:
		if !empty(node) {
			add(s.found, r.note)
		}
		return false
	case noted:
		add(s.notes, r.note)
		return false
	}
	return true
}

func (s *survey) unknown(at Position, path string) {
	s.found[path] = append(s.found[path], Problem{Position: at, Text: path + ": this key is not known to Gantry; remove it"})
}

// cleared forgets what earlier documents said when this one resets or
// overrides it. Source: compose specification, merge, !reset and !override.
func (s *survey) cleared(node *yaml.Node, path string) bool {
	if node.Tag != "!reset" && node.Tag != "!override" {
		return false
	}
	below := func(p string) bool { return p == path || strings.HasPrefix(p, path+".") }
	for _, m := range []map[string][]Problem{s.found, s.notes} {
		for p := range m {
			if below(p) {
				delete(m, p)
			}
		}
	}
	for p := range s.items {
		if below(p) {
			delete(s.items, p)
		}
	}
	return node.Tag == "!reset"
}

// empty tells whether a node holds nothing that could be dropped.
func empty(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.ScalarNode:
		return n.Tag == "!!null"
	case yaml.MappingNode, yaml.SequenceNode:
		return len(n.Content) == 0
	}
	return false
}

// problems returns all refused keys.
func (s *survey) problems() []Problem { return gather(s.found) }

// warnings returns the keys that change nothing here.
func (s *survey) warnings() []Problem { return sortProblems(gather(s.notes)) }

func gather(m map[string][]Problem) []Problem {
	var out []Problem
	for _, list := range m {
		out = append(out, list...)
	}
	return out
}

// position returns where a path stands, or the nearest thing above it.
func (s *survey) position(path ...string) Position {
	for n := len(path); n > 0; n-- {
		if at, ok := s.at[strings.Join(path[:n], ".")]; ok {
			return at
		}
	}
	return Position{}
}

// service returns the positions of a service's keys and items, two levels
// deep, by their path below the service.
func (s *survey) service(name string) map[string]Position {
	prefix, out := "services."+name+".", map[string]Position{}
	for path, at := range s.at {
		rest, ok := strings.CutPrefix(path, prefix)
		bulk := strings.HasPrefix(rest, "environment.") || strings.HasPrefix(rest, "labels.")
		if ok && !bulk && strings.Count(rest, ".") < 2 {
			out[rest] = at
		}
	}
	return out
}
