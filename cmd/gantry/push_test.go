package main

import (
	"slices"
	"testing"

	"gantry/project"
)

func TestImagesToPush(t *testing.T) {
	on := func(names ...string) (out []project.Dependency) {
		for _, n := range names {
			out = append(out, project.Dependency{Service: n})
		}
		return out
	}
	p := &project.Project{Services: []project.Service{
		{Name: "api", Image: "reg/api:1", ImageGiven: true, Build: &project.Build{Tags: []string{"reg/api:latest", "reg/api:1"}}, DependsOn: on("lib")},
		{Name: "copy", Image: "reg/api:1", ImageGiven: true, Build: &project.Build{}},
		{Name: "db", Image: "postgres", ImageGiven: true},
		{Name: "lib", Image: "reg/lib", ImageGiven: true, Build: &project.Build{}, DependsOn: on("db")},
		{Name: "local", Image: "p-local", Build: &project.Build{}},
	}}
	for _, c := range []struct {
		services []string
		deps     bool
		want     []string
	}{
		{nil, false, []string{"reg/api:1", "reg/api:latest", "reg/lib"}},
		{[]string{"api"}, false, []string{"reg/api:1", "reg/api:latest"}},
		{[]string{"api"}, true, []string{"reg/api:1", "reg/api:latest", "reg/lib"}}, // db is somebody else's
		{[]string{"db"}, false, []string{"postgres"}},
		{[]string{"local"}, false, nil},
	} {
		var got []string
		for _, push := range pushed(p, c.services, c.deps) {
			got = append(got, push.ref)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v, with dependencies %v: %v, want %v", c.services, c.deps, got, c.want)
		}
	}
}
