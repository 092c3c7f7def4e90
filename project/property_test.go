package project

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// servicePool are keys that can stand in one service in any order.
var servicePool = map[string]any{
	"command":     []string{"sleep", "1"},
	"environment": map[string]any{"A": "1", "B": 2, "C": nil},
	"labels":      map[string]any{"x": "1", "y": "2", "z": "3"},
	"ports":       []any{"8080-8081:80", map[string]any{"target": 81, "published": "9000-9003", "protocol": "udp"}},
	"volumes":     []any{"data:/data", map[string]any{"type": "tmpfs", "target": "/t", "tmpfs": map[string]any{"size": 1024}}},
	"ulimits":     map[string]any{"nofile": 5, "nproc": map[string]any{"soft": 1, "hard": 2}},
	"sysctls":     map[string]any{"net.core.somaxconn": 1, "net.ipv4.tcp_syncookies": 0},
	"extra_hosts": map[string]any{"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"},
	"logging":     map[string]any{"driver": "json-file", "options": map[string]any{"max-size": "1m", "max-file": "2"}},
	"networks":    map[string]any{"front": map[string]any{"aliases": []string{"q"}}, "back": nil},
	"deploy":      map[string]any{"replicas": 2, "resources": map[string]any{"limits": map[string]any{"cpus": "0.5", "memory": "64M"}}},
	"healthcheck": map[string]any{"test": "true", "interval": "3s", "retries": 4},
	"tmpfs":       []string{"/run", "/tmp:size=1m"},
	"init":        true,
	"entrypoint":  []string{},
	"dns":         []string{"1.1.1.1"},
	"mac_address": "02:42:ac:11:00:02",
	"depends_on":  map[string]any{"db": map[string]any{"condition": "service_started"}, "cache": map[string]any{"condition": "service_started"}},
}

// document makes a project of one service with the chosen keys.
func document(keys []string, shuffle *rand.Rand) *yaml.Node {
	service := map[string]any{"image": "x"}
	for _, k := range keys {
		service[k] = servicePool[k]
	}
	doc := map[string]any{
		"services": map[string]any{"web": service, "db": map[string]any{"image": "x"}, "cache": map[string]any{"image": "x"}},
		"networks": map[string]any{"front": map[string]any{"driver": "bridge", "internal": true, "labels": map[string]any{"a": "1", "b": "2"}}, "back": nil},
		"volumes":  map[string]any{"data": map[string]any{"labels": map[string]any{"a": "1", "b": "2"}}},
	}
	var n yaml.Node
	if err := n.Encode(doc); err != nil {
		panic(err)
	}
	shuffleMappings(&n, shuffle)
	return &n
}

func shuffleMappings(n *yaml.Node, r *rand.Rand) {
	for _, c := range n.Content {
		shuffleMappings(c, r)
	}
	if n.Kind != yaml.MappingNode {
		return
	}
	order := r.Perm(len(n.Content) / 2)
	content := make([]*yaml.Node, 0, len(n.Content))
	for _, i := range order {
		content = append(content, n.Content[2*i], n.Content[2*i+1])
	}
	n.Content = content
}

func loadNode(t *rapid.T, dir string, n *yaml.Node) *Project {
	data, err := yaml.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := Load(context.Background(), Options{
		Files: []string{"-"}, Stdin: strings.NewReader(string(data)), ProjectDirectory: dir, Environment: []string{"C=3"},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return p
}

func withoutPositions(p *Project) *Project {
	for i := range p.Services {
		s := &p.Services[i]
		s.Source, s.Positions = Position{}, nil
		for j := range s.Networks {
			s.Networks[j].Source = Position{}
		}
	}
	for i := range p.Networks {
		p.Networks[i].Source = Position{}
	}
	for i := range p.Volumes {
		p.Volumes[i].Source = Position{}
	}
	return p
}

// The order of keys means nothing: not for the project, so not for its hashes.
// And a project survives a journey as JSON.
func TestKeyOrderMeansNothing(t *testing.T) {
	dir := t.TempDir()
	all := slices.Sorted(func(yield func(string) bool) {
		for k := range servicePool {
			if !yield(k) {
				return
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID).Draw(t, "keys")
		seed := rapid.Uint64().Draw(t, "seed")
		a := loadNode(t, dir, document(keys, rand.New(rand.NewPCG(seed, 1))))
		b := loadNode(t, dir, document(keys, rand.New(rand.NewPCG(seed, 2))))

		data, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back Project
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(*a, back) {
			t.Fatalf("changed by JSON:\n%s", data)
		}
		if a, b := withoutPositions(a), withoutPositions(b); !reflect.DeepEqual(a, b) {
			t.Fatalf("order of keys %v changed the project:\n%+v\n%+v", keys, a, b)
		}
	})
}

// Whatever is written, Load answers with a project or an error.
func TestLoadNeverPanics(t *testing.T) {
	dir := t.TempDir()
	var names []string
	for _, path := range schema.AttributePaths() {
		for _, part := range path.Parts() {
			if part != "*" && part != "[]" && !slices.Contains(names, part) {
				names = append(names, part)
			}
		}
	}
	names = append(names, "web", "default", "x-y", "<<", "a.b")
	scalar := rapid.SampledFrom([]any{nil, true, 0, -1, 3.5, "", "web", "a:b", "a:b:c", "80:80", "service:web", "1s", "${X", "$X", "${X:?}", "host", "/x", "\x00", "*", []any{}, map[string]any{}})
	var tree *rapid.Generator[any]
	tree = rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0:
			return rapid.SliceOfN(rapid.Deferred(func() *rapid.Generator[any] { return tree }), 0, 3).Draw(t, "list")
		case 1, 2:
			return rapid.MapOfN(rapid.SampledFrom(names), rapid.Deferred(func() *rapid.Generator[any] { return tree }), 0, 4).Draw(t, "map")
		}
		return scalar.Draw(t, "scalar")
	})
	rapid.Check(t, func(t *rapid.T) {
		service := rapid.MapOfN(rapid.SampledFrom(names), tree, 0, 6).Draw(t, "service")
		service["image"] = "x"
		doc := map[string]any{"services": map[string]any{"web": service, "default": tree.Draw(t, "other")}}
		for _, section := range []string{"networks", "volumes", "configs", "secrets", "include"} {
			if rapid.Bool().Draw(t, section) {
				doc[section] = tree.Draw(t, section+" tree")
			}
		}
		data, err := yaml.Marshal(doc)
		if err != nil {
			t.Skip("not YAML")
		}
		for _, ignore := range []bool{false, true} {
			p, _, err := Load(context.Background(), Options{
				Files: []string{"-"}, Stdin: strings.NewReader(string(data)), ProjectDirectory: dir,
				Environment: []string{}, IgnoreUnsupported: ignore,
			})
			if (p == nil) == (err == nil) {
				t.Fatalf("project %v, error %v\n%s", p, err, data)
			}
			if err != nil && err.Error() == "" {
				t.Fatalf("an error without text\n%s", data)
			}
		}
	})
}

// Order and Closure against their definition, on random graphs.
func TestOrderAndClosure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "services")
		acyclic := rapid.Bool().Draw(t, "acyclic")
		p := &Project{Name: "p"}
		edges := map[string][]string{}
		for i := range n {
			name := fmt.Sprintf("s%02d", i)
			s := Service{Name: name, Image: "x", Replicas: 1}
			for j := range n {
				if (acyclic && j >= i) || !rapid.Bool().Draw(t, "edge") || (!acyclic && rapid.IntRange(0, 3).Draw(t, "rare") > 0) {
					continue
				}
				to := fmt.Sprintf("s%02d", j)
				s.DependsOn = append(s.DependsOn, Dependency{Service: to, Condition: Started, Required: true})
				edges[name] = append(edges[name], to)
			}
			p.Services = append(p.Services, s)
		}
		reach := func(from string) map[string]bool {
			seen, queue := map[string]bool{}, edges[from]
			for len(queue) > 0 {
				next := queue[0]
				queue = queue[1:]
				if !seen[next] {
					seen[next] = true
					queue = append(queue, edges[next]...)
				}
			}
			return seen
		}
		cyclic := slices.ContainsFunc(p.ServiceNames(), func(s string) bool { return reach(s)[s] })
		order, err := p.Order()
		if (err != nil) != cyclic {
			t.Fatalf("cyclic %v, error %v", cyclic, err)
		}
		if cyclic {
			text := err.Error()
			_, chain, _ := strings.Cut(text, "cycle: ")
			names := strings.Split(chain, " -> ")
			if len(names) < 2 || names[0] != names[len(names)-1] {
				t.Fatalf("no cycle named: %s", text)
			}
			for i := range len(names) - 1 {
				if !slices.Contains(edges[names[i]], names[i+1]) {
					t.Fatalf("%s -> %s is no dependency: %s", names[i], names[i+1], text)
				}
			}
			return
		}
		for i, name := range order {
			for _, to := range edges[name] {
				if slices.Index(order, to) > i {
					t.Fatalf("%s comes before its dependency %s: %v", name, to, order)
				}
			}
		}
		if len(order) != n {
			t.Fatalf("order %v of %d services", order, n)
		}
		start := rapid.SampledFrom(p.ServiceNames()).Draw(t, "start")
		closure, err := p.Closure(start)
		if err != nil {
			t.Fatal(err)
		}
		want := reach(start)
		want[start] = true
		if len(closure) != len(want) || slices.ContainsFunc(closure, func(s string) bool { return !want[s] }) {
			t.Fatalf("closure of %s is %v, want %v", start, closure, want)
		}
	})
}

// hashOf loads one service and returns its hash.
func hashOf(t *testing.T, service string) string {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "gantry-hash") // the same for all, and never written
	p, _, err := Load(context.Background(), Options{
		Files: []string{"-"}, ProjectDirectory: dir, Environment: []string{},
		Stdin: strings.NewReader("services:\n  db: {image: x}\n  web:\n    image: nginx\n" + service + "\nnetworks: {front: }\nvolumes: {data: }\n"),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, service)
	}
	web, _ := p.Service("web")
	return web.Hash
}

func TestHashCoversWhatARunningContainerIsMadeFrom(t *testing.T) {
	base := hashOf(t, "")
	seen := map[string]string{base: "nothing"}
	for _, key := range []string{
		"command: x", "command: []", "entrypoint: []", "environment: {A: b}", "environment: [A]", "user: a", "labels: {a: b}",
		"ports: ['80']", "ports: ['80:80']", "expose: [80]", "volumes: [data:/a]", "volumes: [/a]", "volumes: [./x:/a]", "tmpfs: /a",
		"networks: {front: }", "networks: {default: {aliases: [a]}}", "network_mode: host", "mem_limit: 1m", "cpus: 1",
		"restart: always", "healthcheck: {test: a}", "healthcheck: {disable: true}", "stop_signal: INT", "stop_grace_period: 1s",
		"init: true", "init: false", "tty: true", "read_only: true", "cap_add: [ALL]", "hostname: a", "container_name: aa",
		"logging: {driver: none}", "platform: linux/arm64", "extra_hosts: [a=1.1.1.1]", "pid: host",
	} {
		h := hashOf(t, "    "+key)
		if other, ok := seen[h]; ok {
			t.Errorf("%q and %q have the same hash", key, other)
		}
		seen[h] = key
	}
	for _, key := range []string{
		"scale: 3", "deploy: {replicas: 3}", "depends_on: [db]", "pull_policy: always", "x-mine: 1", "attach: true",
	} {
		if hashOf(t, "    "+key) != base {
			t.Errorf("%q changes the hash", key)
		}
	}
}
