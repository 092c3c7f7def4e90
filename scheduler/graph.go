package scheduler

import (
	"slices"
	"strings"

	"gantry/project"
)

// graph is the services' depends_on relation, without cycles.
type graph struct {
	order      []string                        // dependencies first
	place      map[string]int                  // index in order
	deps       map[string][]project.Dependency // to services of the graph only, sorted by service
	dependents map[string][]string             // in dependency order
}

// newGraph orders the services that are keys of deps. An edge that would close
// a cycle is left out and returned as the services on it.
func newGraph(deps map[string][]project.Dependency) (*graph, []string) {
	g := &graph{
		place:      make(map[string]int, len(deps)),
		deps:       make(map[string][]project.Dependency, len(deps)),
		dependents: make(map[string][]string, len(deps)),
	}
	var cycle, path []string
	var visit func(name string)
	visit = func(name string) {
		path = append(path, name)
		mine := slices.Clone(deps[name])
		slices.SortStableFunc(mine, func(a, b project.Dependency) int { return strings.Compare(a.Service, b.Service) })
		for _, d := range mine {
			if _, known := deps[d.Service]; !known {
				continue
			}
			if i := slices.Index(path, d.Service); i >= 0 {
				if cycle == nil {
					cycle = append(slices.Clone(path[i:]), d.Service)
				}
				continue
			}
			if _, seen := g.place[d.Service]; !seen {
				visit(d.Service)
			}
			g.deps[name] = append(g.deps[name], d)
		}
		path = path[:len(path)-1]
		g.place[name] = len(g.order)
		g.order = append(g.order, name)
	}
	for _, name := range sorted(deps) {
		if _, seen := g.place[name]; !seen {
			visit(name)
		}
	}
	for _, name := range g.order {
		for _, d := range g.deps[name] {
			g.dependents[d.Service] = append(g.dependents[d.Service], name)
		}
	}
	return g, cycle
}

// projectDeps is the relation that a project's services state.
func projectDeps(p *project.Project) map[string][]project.Dependency {
	deps := make(map[string][]project.Dependency)
	if p != nil {
		for i := range p.Services {
			deps[p.Services[i].Name] = p.Services[i].DependsOn
		}
	}
	return deps
}

// labelDeps adds to deps the services of containers that it lacks, with the
// dependencies that their depends_on label tells.
func labelDeps(deps map[string][]project.Dependency, containers []Container) {
	found := make(map[string][]project.Dependency)
	for i := range containers {
		c := &containers[i]
		if _, known := deps[c.Service]; known {
			continue
		}
		mine := found[c.Service]
		for _, d := range ParseDependsOn(c.DependsOn) {
			if !slices.ContainsFunc(mine, func(o project.Dependency) bool { return o.Service == d.Service }) {
				mine = append(mine, d)
			}
		}
		found[c.Service] = mine
	}
	for name, d := range found {
		deps[name] = d
	}
}

// ParseDependsOn reads a depends_on label: service:condition:restart, joined
// by commas. Source: Docker Compose's labels.
func ParseDependsOn(label string) []project.Dependency {
	var deps []project.Dependency
	for part := range strings.SplitSeq(label, ",") {
		f := strings.Split(strings.TrimSpace(part), ":")
		if f[0] == "" {
			continue
		}
		d := project.Dependency{Service: f[0], Condition: project.Started, Required: true}
		if len(f) > 1 && f[1] != "" {
			d.Condition = project.Condition(f[1])
		}
		d.Restart = len(f) > 2 && f[2] == "true"
		deps = append(deps, d)
	}
	return deps
}

// oneShot says that a service waits for this one to complete.
func (g *graph) oneShot(name string) bool {
	return slices.ContainsFunc(g.dependents[name], func(dependant string) bool {
		return slices.ContainsFunc(g.deps[dependant], func(d project.Dependency) bool {
			return d.Service == name && d.Condition == project.Completed
		})
	})
}

// closure returns names and all that they depend on.
func (g *graph) closure(names []string) map[string]bool {
	return reach(names, func(name string) []string {
		next := make([]string, 0, len(g.deps[name]))
		for _, d := range g.deps[name] {
			next = append(next, d.Service)
		}
		return next
	})
}

func reach(from []string, next func(string) []string) map[string]bool {
	seen := make(map[string]bool)
	todo := slices.Clone(from)
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !seen[name] {
			seen[name] = true
			todo = append(todo, next(name)...)
		}
	}
	return seen
}

// stopBefore makes every stop of a service wait for the stops of the services
// that depend on it, also through services that do not stop.
func (g *graph) stopBefore(stops map[string][]*node, link func(stop, earlier *node)) {
	front := make(map[string][]*node, len(g.order)) // stops of name, or else of those above it
	for i := len(g.order) - 1; i >= 0; i-- {
		name := g.order[i]
		var above []*node
		seen := make(map[*node]bool)
		for _, d := range g.dependents[name] {
			for _, n := range front[d] {
				if !seen[n] {
					seen[n] = true
					above = append(above, n)
				}
			}
		}
		for _, stop := range stops[name] {
			for _, earlier := range above {
				link(stop, earlier)
			}
		}
		if front[name] = stops[name]; len(front[name]) == 0 {
			front[name] = above
		}
	}
}
