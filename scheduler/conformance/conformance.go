// Package conformance is what every scheduler.Driver must do. The runtime in
// memory, which the property tests trust, and the real engine run it alike.
package conformance

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
)

// bound is how long any one step may take; every wait of the suite ends then.
const bound = 60 * time.Second

// Session has what a build needs of a client, its context and Dockerfile, until
// the test ends. It returns BuildImage.Session.
type Session func(t *testing.T, b project.Build) string

// Test runs the suite, each part on a driver of its own. image is a reference
// that those have, without entrypoint and health check, and with sleep, true
// and false on its PATH.
func Test(t *testing.T, newDriver func(t *testing.T) (scheduler.Driver, Session), image string) {
	for _, part := range []struct {
		name string
		test func(r *rig)
	}{
		{"Lifecycle", lifecycle},
		{"Hooks", hooks},
		{"Observe", observe},
		{"Names", names},
		{"Waits", waits},
		{"WaitsEnd", waitsEnd},
		{"Builds", builds},
		{"Networks", networks},
		{"Volumes", volumes},
		{"AnonymousVolumes", anonymousVolumes},
		{"Namespaces", namespaces},
		{"Ports", ports},
		{"Project", wholeProject},
		{"Interrupted", interrupted},
	} {
		t.Run(part.name, func(t *testing.T) {
			d, session := newDriver(t)
			r := &rig{T: t, d: d, session: session, image: image}
			sum := sha256.Sum256([]byte(rand.Text()))
			r.project = "conf" + hex.EncodeToString(sum[:4])
			t.Cleanup(r.clean)
			part.test(r)
		})
	}
}

// rig is one part's driver and project.
type rig struct {
	*testing.T
	d              scheduler.Driver
	session        Session
	image, project string
	made           int
}

// clean takes down what the part left.
func (r *rig) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	s, err := r.d.Observe(ctx, scheduler.QueryProject(r.project, nil))
	if err != nil {
		r.Errorf("observing what is left: %v", err)
		return
	}
	plan, err := scheduler.BuildDown(r.project, nil, s, scheduler.DownOptions{Volumes: true})
	if err == nil {
		err = scheduler.Run(ctx, plan, r.d, scheduler.RunOptions{}, nil)
	}
	if err != nil {
		r.Errorf("cleaning up: %v", err)
	}
}

func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.Context(), bound)
	r.Cleanup(cancel)
	return ctx
}

func (r *rig) try(a scheduler.Action) error {
	return r.d.Apply(r.context(), a, func(scheduler.Progress) {})
}

func (r *rig) do(actions ...scheduler.Action) {
	r.Helper()
	for _, a := range actions {
		if err := r.try(a); err != nil {
			r.Fatalf("%#v: %v", a, err)
		}
	}
}

// refused checks that an action fails with an error of a class.
func (r *rig) refused(a scheduler.Action, class ...func(error) bool) {
	r.Helper()
	err := r.try(a)
	if err == nil {
		r.Fatalf("%#v: not refused", a)
	}
	if len(class) > 0 && !slices.ContainsFunc(class, func(is func(error) bool) bool { return is(err) }) {
		r.Errorf("%#v: %v is of another class", a, err)
	}
}

func (r *rig) observe(q scheduler.Query) *scheduler.State {
	r.Helper()
	q.Project = r.project
	s, err := r.d.Observe(r.context(), q)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// see is a container as observed.
func (r *rig) see(id string) scheduler.Container {
	r.Helper()
	s := r.observe(scheduler.Query{})
	i := slices.IndexFunc(s.Containers, func(c scheduler.Container) bool { return c.ID == id })
	if i < 0 {
		r.Fatalf("no container %q in %v", id, s.Containers)
	}
	return s.Containers[i]
}

func (r *rig) status(id string, want container.ContainerState) {
	r.Helper()
	if got := r.see(id); got.Status != want {
		r.Fatalf("container %q is %s (exit %d), not %s", got.Name, got.Status, got.ExitCode, want)
	}
}

// id is a container's ID, one that no other part uses.
func (r *rig) id() string {
	r.made++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.project, r.made))
	return hex.EncodeToString(sum[:])
}

// container is a container of the project that runs cmd without network.
func (r *rig) container(service string, edit ...func(*scheduler.CreateContainer)) scheduler.CreateContainer {
	c := scheduler.CreateContainer{
		ID: r.id(), Service: service, Number: 1, Image: r.image,
		Config: container.Config{
			Image: r.image, Cmd: []string{"sleep", "3600"}, StopSignal: "SIGKILL",
			Labels: map[string]string{
				project.LabelProject: r.project, project.LabelService: service, project.LabelNumber: "1",
				project.LabelOneOff: "False", project.LabelHash: "hash-" + service, project.LabelDependsOn: "db:service_healthy:true",
			},
		},
		Host: container.HostConfig{NetworkMode: "none"},
	}
	c.Name = fmt.Sprintf("%s-%s-%d", r.project, service, r.made)
	for _, e := range edit {
		e(&c)
	}
	return c
}

func cmd(args ...string) func(*scheduler.CreateContainer) {
	return func(c *scheduler.CreateContainer) { c.Config.Cmd = args }
}

// probe gives a health check that runs often and fails at once.
func probe(args ...string) func(*scheduler.CreateContainer) {
	return func(c *scheduler.CreateContainer) { c.Config.Healthcheck = health(args...) }
}

func health(args ...string) *container.HealthConfig {
	return &container.HealthConfig{
		Test: append([]string{"CMD"}, args...), Interval: 200 * time.Millisecond, Timeout: 10 * time.Second, Retries: 1,
	}
}

func on(names ...string) func(*scheduler.CreateContainer) {
	return func(c *scheduler.CreateContainer) {
		c.Host.NetworkMode = container.NetworkMode(names[0])
		for _, n := range names {
			c.Networks = append(c.Networks, project.Attachment{Network: n, Name: n, Aliases: []string{c.Service}})
		}
	}
}

func mounts(m ...mount.Mount) func(*scheduler.CreateContainer) {
	return func(c *scheduler.CreateContainer) { c.Host.Mounts = append(c.Host.Mounts, m...) }
}

// given gives a secret.
func given(content string, withheld bool) func(*scheduler.CreateContainer) {
	return func(c *scheduler.CreateContainer) {
		c.Files = []project.File{{Kind: "secret", Name: "key", Target: "/run/secrets/key", Mode: 0o400, Content: project.Content(content), Withheld: withheld}}
	}
}

func (r *rig) network(name string) scheduler.CreateNetwork {
	n := scheduler.CreateNetwork{Name: r.project + "_" + name}
	n.Create.Name, n.Create.Driver = n.Name, "bridge"
	n.Create.Labels = map[string]string{project.LabelProject: r.project, project.LabelNetwork: name, project.LabelHash: "hash-" + name}
	return n
}

func (r *rig) volume(name string) scheduler.CreateVolume {
	return scheduler.CreateVolume{Name: r.project + "_" + name, Labels: map[string]string{
		project.LabelProject: r.project, project.LabelVolume: name, project.LabelHash: "hash-" + name,
	}}
}

func start(c scheduler.CreateContainer) scheduler.StartContainer {
	return scheduler.StartContainer{ID: c.ID, Name: c.Name, Service: c.Service}
}

func stop(c scheduler.CreateContainer) scheduler.StopContainer {
	return scheduler.StopContainer{ID: c.ID, Name: c.Name, Service: c.Service}
}

func remove(c scheduler.CreateContainer) scheduler.RemoveContainer {
	return scheduler.RemoveContainer{ID: c.ID, Name: c.Name, Service: c.Service}
}

func wait(c scheduler.CreateContainer, cond project.Condition) scheduler.WaitContainer {
	return scheduler.WaitContainer{ID: c.ID, Name: c.Name, Service: c.Service, Condition: cond}
}

func keys[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), " ")
}
