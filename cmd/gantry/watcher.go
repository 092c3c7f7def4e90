package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gantry/api/client"
	"gantry/cmd/gantry/progress"
	"gantry/cmd/gantry/terminal"
	"gantry/cmd/gantry/watch"
	"gantry/project"

	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
)

// watcher brings the changes of files into a project's containers.
type watcher struct {
	c     *cli
	t     target
	api   *engine.Client
	rules []watch.Rule
	tree  *watch.Tree
	prune bool                    // remove images that a rebuild took the name from
	out   io.Writer               // what is done, and what fails
	show  func() progress.Display // of verbs that changes lead to
	// doing, when set, is called before something is done; what it returns, after
	// that.
	doing func() func()
}

func (w *watcher) close() {
	w.tree.Close()
	w.api.Close()
}

// run carries out what changes lead to, one after another, until ctx ends. What
// fails is told, and the next change is another try.
func (w *watcher) run(ctx context.Context) error {
	w.say("Watch enabled")
	w.do(ctx, watch.Initial(w.rules))
	return w.tree.Run(ctx, func(files []string) { w.do(ctx, watch.Plan(w.rules, files)) })
}

func (w *watcher) say(format string, args ...any) { fmt.Fprintf(w.out, format+"\n", args...) }

func (w *watcher) do(ctx context.Context, work watch.Work) {
	if w.doing != nil {
		defer w.doing()()
	}
	tell := func(what string, err error) {
		if err != nil && ctx.Err() == nil {
			w.say("watch: %s: %s", what, readable(err.Error()))
		}
	}
	if services := work.Rebuild; len(services) > 0 {
		w.say("Rebuilding service(s) %s after changes were detected...", quoted(services))
		tell("rebuild", w.rebuild(ctx, services))
	}
	for _, service := range slices.Sorted(maps.Keys(work.Sync)) {
		copies := work.Sync[service]
		w.say("Syncing service %q after %d changes were detected", service, len(copies))
		tell("sync of service "+service, w.each(ctx, service, func(id string) error { return w.sync(ctx, id, copies) }))
	}
	if services := work.Restart; len(services) > 0 {
		w.say("Restarting service(s) %s after changes were detected...", quoted(services))
		tell("restart", w.verb(func(d progress.Display) error {
			return do(ctx, w.c, w.t, client.VerbRestart, services, client.RestartOptions{}, d)
		}))
	}
	for _, service := range slices.Sorted(maps.Keys(work.Exec)) {
		for _, hook := range work.Exec[service] {
			tell("exec in service "+service, w.each(ctx, service, func(id string) error { return w.exec(ctx, id, hook) }))
		}
	}
}

func quoted(list []string) string { return `"` + strings.Join(list, `", "`) + `"` }

func (w *watcher) verb(f func(progress.Display) error) error {
	d := w.show()
	defer d.Close()
	return f(d)
}

// rebuild replaces the containers if their image has become another one.
func (w *watcher) rebuild(ctx context.Context, services []string) error {
	before := w.images(ctx, services)
	o := &createOptions{UpOptions: client.UpOptions{Builds: client.Builds{Build: true}, NoDeps: true, IgnoreOrphanWarning: true}}
	err := w.verb(func(d progress.Display) error {
		return doBuilding(ctx, w.c, w.t.building(nil), client.VerbUp, services, d, o.with)
	})
	if err != nil || !w.prune {
		return err
	}
	for image, id := range before {
		if now := w.images(ctx, services)[image]; now == id {
			continue
		}
		found, err := w.api.ImageInspect(ctx, id)
		if err == nil && len(found.RepoTags) == 0 {
			_, err = w.api.ImageRemove(ctx, id, engine.ImageRemoveOptions{})
		}
		if err != nil && ctx.Err() == nil { // a container of somebody else's has it, or it is gone
			w.say("watch: image %s is not removed: %s", shortImage(id), readable(err.Error()))
		}
	}
	return nil
}

// images are the IDs of the services' images that are here, by name.
func (w *watcher) images(ctx context.Context, services []string) map[string]string {
	out := map[string]string{}
	for _, name := range services {
		if s, ok := w.t.definition.Service(name); ok {
			if found, err := w.api.ImageInspect(ctx, s.Image); err == nil {
				out[s.Image] = found.ID
			}
		}
	}
	return out
}

// each does something in every running container of a service.
func (w *watcher) each(ctx context.Context, service string, f func(id string) error) error {
	list, err := containers(ctx, w.api, w.t.name, selection{services: []string{service}})
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range list {
		if s.State == container.StateRunning {
			errs = append(errs, f(s.ID))
		}
	}
	return errors.Join(errs...)
}

func (w *watcher) sync(ctx context.Context, id string, copies []watch.Copy) error {
	archive, in := io.Pipe()
	defer archive.Close()
	gone := make(chan []string, 1)
	go func() {
		list, err := watch.Archive(in, copies)
		gone <- list
		in.CloseWithError(err)
	}()
	if _, err := w.api.CopyToContainer(ctx, id, engine.CopyToContainerOptions{DestinationPath: "/", Content: archive, AllowOverwriteDirWithFile: true}); err != nil {
		return err
	}
	list := <-gone
	if len(list) == 0 {
		return nil
	}
	return w.exec(ctx, id, project.Hook{Command: append([]string{"rm", "-rf", "--"}, list...), User: "0"})
}

// exec runs a command in a container and shows what it writes.
func (w *watcher) exec(ctx context.Context, id string, h project.Hook) error {
	created, err := w.api.ExecCreate(ctx, id, engine.ExecCreateOptions{
		User: h.User, Privileged: h.Privileged, Env: h.Env, WorkingDir: h.WorkingDir, Cmd: h.Command, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return err
	}
	hijacked, err := w.api.ExecAttach(ctx, created.ID, engine.ExecAttachOptions{})
	if err != nil {
		return err
	}
	s := terminal.Session{Out: w.out, Err: w.out}
	if err := s.Run(ctx, connTo(hijacked.HijackedResponse)); err != nil {
		return err
	}
	code, err := execCode(ctx, w.api, created.ID)
	if err == nil && code != 0 {
		err = fmt.Errorf("%q ended with exit code %d", strings.Join(h.Command, " "), code)
	}
	return err
}
