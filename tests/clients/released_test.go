//go:build clients

package clients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// released is a client that scripts/build-clients has built.
type released struct {
	t       *testing.T
	d       *harness.Daemon
	program string
	dir     string
	env     []string
}

// client starts a daemon for a client, whose plugins docker and Docker Compose
// find.
func release(t *testing.T, name string) *released {
	t.Helper()
	from := os.Getenv("GANTRY_CLIENTS")
	if from == "" {
		t.Fatal("GANTRY_CLIENTS names no directory with clients: use make test-clients")
	}
	d := start(t)
	t.Cleanup(func() { d.MustDocker("image", "prune", "-af") })
	plugins := filepath.Join(d.Dir, "docker-config", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	for plugin, program := range map[string]string{"docker-buildx": "docker-buildx", "docker-compose": "docker-compose2"} {
		if err := os.Symlink(filepath.Join(from, program), filepath.Join(plugins, plugin)); err != nil {
			t.Fatal(err)
		}
	}
	return &released{t: t, d: d, program: filepath.Join(from, name), dir: d.Dir}
}

// do runs the client to its end and returns what it printed.
func (r *released) do(args ...string) string {
	r.t.Helper()
	return runWith(r.t, r.d, r.dir, r.env, r.program, args...)
}

// with is the client with more of an environment.
func (r *released) with(env ...string) *released {
	other := *r
	other.env = append(append([]string(nil), r.env...), env...)
	return &other
}

// in makes a project and goes there.
func (r *released) in(name, compose string, files ...string) {
	r.t.Helper()
	r.dir = r.d.Project(name, compose, files...)
}

// edit changes a file of the project.
func (r *released) edit(file, old, new string) {
	r.t.Helper()
	path := filepath.Join(r.dir, file)
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(strings.Replace(string(b), old, new, 1)), 0o644)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// services are the project's containers by service; those of one with a
// trailing number for each further replica.
func (r *released) ps(args ...string) map[string]string {
	r.t.Helper()
	out := map[string]string{}
	dec := json.NewDecoder(strings.NewReader(r.do(append([]string{"ps", "-a", "--no-trunc", "--format", "json"}, args...)...)))
	for dec.More() {
		var c struct{ Name, ID string }
		if err := dec.Decode(&c); err != nil {
			r.t.Fatal(err)
		}
		out[c.Name] = c.ID
	}
	return out
}

// same fails the test unless exactly the named containers were made anew.
func (r *released) same(what string, before map[string]string, but ...string) map[string]string {
	r.t.Helper()
	after := r.ps()
	replaced := map[string]bool{}
	for _, name := range but {
		replaced[name] = true
	}
	for name, id := range after {
		if (before[name] != id) != replaced[name] {
			r.t.Errorf("%s: container %q was %q, is %q", what, name, before[name], id)
		}
	}
	if len(after) != len(before) {
		r.t.Errorf("%s: there are %v, were %v", what, after, before)
	}
	return after
}
