package conformance

import (
	"context"
	"errors"
	"time"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

// lifecycle takes a container through all its states.
func lifecycle(r *rig) {
	c := r.container("app")
	r.do(c)
	r.status(c.ID, container.StateCreated)
	r.do(start(c))
	r.status(c.ID, container.StateRunning)
	r.do(start(c)) // what runs is started already
	r.refused(remove(c))
	r.do(scheduler.PauseContainer{ID: c.ID, Name: c.Name})
	r.status(c.ID, container.StatePaused)
	r.do(scheduler.UnpauseContainer{ID: c.ID, Name: c.Name})
	r.status(c.ID, container.StateRunning)
	r.do(scheduler.RestartContainer{ID: c.ID, Name: c.Name})
	r.status(c.ID, container.StateRunning)
	r.do(stop(c))
	r.status(c.ID, container.StateExited)
	r.do(stop(c)) // what has ended is stopped already
	r.do(start(c))
	r.status(c.ID, container.StateRunning)
	r.do(scheduler.PauseContainer{ID: c.ID, Name: c.Name}, stop(c)) // a paused one can be stopped
	r.status(c.ID, container.StateExited)
	r.do(scheduler.RestartContainer{ID: c.ID, Name: c.Name}) // one that does not run is started
	r.status(c.ID, container.StateRunning)
	gone := remove(c)
	gone.Force = true
	r.do(gone)
	if s := r.observe(scheduler.Query{}); len(s.Containers) > 0 {
		r.Errorf("removed, and still there: %v", s.Containers)
	}

	killed := r.container("killed")
	r.do(killed, start(killed), scheduler.KillContainer{ID: killed.ID, Name: killed.Name})
	r.refused(wait(killed, project.Completed)) // which also waits for its end
	if got := r.see(killed.ID); got.Status != container.StateExited || got.ExitCode != 137 {
		r.Errorf("killed, and %s with %d", got.Status, got.ExitCode)
	}
}

// hooks checks that commands run in a container, and fail when they do.
func hooks(r *rig) {
	c := r.container("app")
	hook := func(when string, cmd ...string) scheduler.RunHook {
		return scheduler.RunHook{ID: c.ID, Name: c.Name, Service: c.Service, When: when, Hook: project.Hook{Command: cmd}}
	}
	r.do(c)
	r.refused(hook(project.PostStart, "true")) // it does not run
	r.do(hook(project.PreStop, "true"))        // there is nothing to stop
	r.do(start(c), hook(project.PostStart, "true"), hook(project.PreStop, "true"))
	r.refused(hook(project.PostStart, "false"), errdefs.IsFailedPrecondition)
	r.refused(hook(project.PreStop, "false"), errdefs.IsFailedPrecondition)
	r.do(stop(c))

	// what was to follow a start stays owed until it is done
	owes := func(want int) {
		r.Helper()
		if got := r.see(c.ID).Owes; got != want {
			r.Errorf("the container owes %d hooks, not %d", got, want)
		}
	}
	begin, first := start(c), hook(project.PostStart, "true")
	begin.Owes, first.Owes = 2, 1
	owes(0)
	r.do(begin, hook(project.PreStop, "true"))
	owes(2)
	r.do(first)
	r.refused(hook(project.PostStart, "false"))
	r.do(stop(c), start(c)) // a start that no hooks follow does not forgive
	owes(1)
	r.do(hook(project.PostStart, "true"))
	owes(0)
	r.do(scheduler.RestartContainer{ID: c.ID, Name: c.Name, Owes: 3})
	owes(3)
}

// observe checks that a container's labels and settings come back.
func observe(r *rig) {
	n := r.network("front")
	c := r.container("app", on(n.Name), probe("true"), given("hush", false))
	once := r.container("once", func(c *scheduler.CreateContainer) { c.Config.Labels[project.LabelOneOff] = "True" })
	r.do(n, c, once)
	s := r.observe(scheduler.Query{Containers: []string{c.Name, "no-such-" + c.Name}, Images: []scheduler.ImageQuery{{Ref: r.image}, {Ref: "no/such:image"}}})
	if len(s.Containers) != 2 || s.Containers[0].ID > s.Containers[1].ID {
		r.Fatalf("containers are not two in order: %v", s.Containers)
	}
	got := r.see(c.ID)
	if got.Name != c.Name || got.Project != r.project || got.Service != "app" || got.Number != 1 || got.OneOff ||
		got.Hash != "hash-app" || got.DependsOn != "db:service_healthy:true" || got.ImageRef != r.image || got.NetworkMode != n.Name {
		r.Errorf("observed %+v", got)
	}
	if !r.see(once.ID).OneOff {
		r.Error("a one-off is not seen as one")
	}
	image := s.Images[r.image]
	if image.ID == "" || got.ImageID != image.ID || image.Err != nil {
		r.Errorf("image %+v, container's %q", image, got.ImageID)
	}
	if absent, asked := s.Images["no/such:image"]; !asked || absent.ID != "" {
		r.Errorf("an image that is not here: %+v, %t", absent, asked)
	}
	if s.Names[c.Name].ID != c.ID || len(s.Names) != 1 {
		r.Errorf("names %v", s.Names)
	}
	if len(got.Files) != 1 || got.Files["/run/secrets/key"] != project.Content("hush").Digest() {
		r.Errorf("files %v", got.Files)
	}
	missing := r.container("missing", given("", true))
	r.refused(missing, errdefs.IsFailedPrecondition)
	r.do(start(c), wait(c, project.Healthy))
	if got := r.see(c.ID); got.Health != container.Healthy {
		r.Errorf("health %q", got.Health)
	}
}

// names checks that they are unique and can be given anew.
func names(r *rig) {
	a, b := r.container("a"), r.container("b")
	r.do(a, b)
	again := r.container("again")
	again.Name = a.Name
	r.refused(again, errdefs.IsAlreadyExists, errdefs.IsConflict)
	rename := scheduler.RenameContainer{ID: b.ID, From: b.Name, To: a.Name}
	r.refused(rename, errdefs.IsAlreadyExists, errdefs.IsConflict)
	r.do(remove(a), rename)
	if got := r.see(b.ID).Name; got != a.Name {
		r.Errorf("renamed to %q", got)
	}
}

// waits checks each condition, reached and out of reach.
func waits(r *rig) {
	healthy, sick := r.container("healthy", probe("true")), r.container("sick", probe("false"))
	good, bad := r.container("good", cmd("true")), r.container("bad", cmd("false"))
	plain := r.container("plain")
	for _, c := range []scheduler.CreateContainer{healthy, sick, good, bad, plain} {
		r.do(c, start(c))
	}
	r.do(wait(healthy, project.Healthy), wait(good, project.Completed), wait(plain, project.Started), wait(healthy, project.Started))
	r.refused(wait(sick, project.Healthy))
	r.refused(wait(bad, project.Completed))
	r.refused(wait(good, project.Started)) // it has ended
	r.refused(wait(plain, project.Healthy), errdefs.IsFailedPrecondition)
	if got := r.see(bad.ID); got.Status != container.StateExited || got.ExitCode != 1 {
		r.Errorf("%s with %d", got.Status, got.ExitCode)
	}
}

// waitsEnd checks that a wait for what does not happen ends when it is told to.
func waitsEnd(r *rig) {
	c := r.container("app")
	r.do(c, start(c))
	w := wait(c, project.Completed)
	w.Timeout = 50 * time.Millisecond
	r.refused(w)
	ctx, cancel := context.WithCancel(r.context())
	cancel()
	if err := r.d.Apply(ctx, wait(c, project.Completed), func(scheduler.Progress) {}); !errors.Is(err, context.Canceled) {
		r.Errorf("a cancelled wait returned %v", err)
	}
}

// namespaces checks that a container can share another's.
func namespaces(r *rig) {
	owner := r.container("owner")
	r.do(owner, start(owner))
	user := r.container("user", func(c *scheduler.CreateContainer) {
		c.Host.NetworkMode = container.NetworkMode("container:" + owner.ID)
		c.Host.PidMode = container.PidMode("container:" + owner.ID)
	})
	r.do(user, start(user))
	r.status(user.ID, container.StateRunning)
	got := r.see(user.ID)
	if got.NetworkMode != "container:"+owner.ID || got.PidMode != "container:"+owner.ID {
		r.Errorf("modes %q %q", got.NetworkMode, got.PidMode)
	}
	r.do(stop(user), stop(owner))
}
