package api

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"gantry/api/client"
	"gantry/engine"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
)

// job is a verb's request, ready to be planned.
type job struct {
	name, holder string
	parallel     int
	project      *project.Project // as sent; nil: as stored, else what labels tell
	services     []string
	credentials  engine.Credentials // for pulls; they end with the request

	defines bool // the verb needs a definition
	keep    bool // what was sent is from now on what was last asked for
	forget  bool // nothing is asked for any more when it is done
	orphans bool // warn of orphans
	query   func(p *project.Project) scheduler.Query
	plan    func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error)
}

// readJob reads the request of a verb and refuses what is bad about it alone.
func readJob(verb client.Verb, w http.ResponseWriter, r *http.Request) (*job, error) {
	switch verb {
	case client.VerbUp:
		return read(w, r, func(j *job, o client.UpOptions) error { return j.up(o, false) })
	case client.VerbCreate:
		return read(w, r, func(j *job, o client.UpOptions) error { return j.up(o, true) })
	case client.VerbDown:
		return read(w, r, (*job).down)
	case client.VerbStart:
		return read(w, r, (*job).start)
	case client.VerbStop:
		return read(w, r, (*job).stop)
	case client.VerbRestart:
		return read(w, r, (*job).restart)
	case client.VerbKill:
		return read(w, r, (*job).kill)
	case client.VerbPause:
		return read(w, r, func(j *job, _ client.NoOptions) error { return j.pause(scheduler.BuildPause) })
	case client.VerbUnpause:
		return read(w, r, func(j *job, _ client.NoOptions) error { return j.pause(scheduler.BuildUnpause) })
	case client.VerbRemove:
		return read(w, r, (*job).remove)
	case client.VerbPull:
		return read(w, r, (*job).pull)
	case client.VerbBuild:
		return read(w, r, (*job).build)
	case client.VerbRun:
		return read(w, r, (*job).run)
	}
	return nil, fmt.Errorf("verb %q is none of a project's: %w", verb, errdefs.ErrNotFound)
}

func read[O any](w http.ResponseWriter, r *http.Request, fill func(*job, O) error) (*job, error) {
	var q client.Request[O]
	if err := decode(w, r, &q); err != nil {
		return nil, err
	}
	j := &job{name: r.PathValue("name"), holder: cmp.Or(q.Holder, "another command"), parallel: q.Parallel, project: q.Project, services: q.Services, orphans: true}
	for name, c := range q.Credentials {
		if j.credentials == nil {
			j.credentials = engine.Credentials{}
		}
		j.credentials[name] = authOf(c)
	}
	j.query = func(p *project.Project) scheduler.Query { return scheduler.QueryProject(j.name, p) }
	if j.project != nil {
		if j.project.Name != j.name {
			return nil, badRequest("project %q was sent to the route of project %q", j.project.Name, j.name)
		}
		if err := j.project.Check(); err != nil {
			return nil, err
		}
	}
	return j, fill(j, q.Options)
}

func (j *job) up(o client.UpOptions, noStart bool) error {
	if o.Build && o.NoBuild {
		return badRequest("build excludes noBuild")
	}
	if o.ForceRecreate && o.NoRecreate || o.AlwaysRecreateDeps && o.NoRecreate {
		return badRequest("noRecreate excludes forceRecreate and alwaysRecreateDeps")
	}
	pull, err := pullPolicy(o.Pull)
	if err != nil {
		return err
	}
	opts := scheduler.Options{
		Seed: rand.Text(), Now: time.Now(), Services: j.services, NoDeps: o.NoDeps, RemoveOrphans: o.RemoveOrphans,
		Builds: scheduler.Builds{Sessions: o.Sessions, Always: o.Build, Never: o.NoBuild},
		Scale:  o.Scale, Pull: pull, RenewVolumes: o.RenewAnonVolumes, Timeout: o.Timeout, NoStart: noStart, Wait: o.Wait, WaitTimeout: o.WaitTimeout,
	}
	switch {
	case o.ForceRecreate:
		opts.Recreate = scheduler.RecreateAlways
	case o.NoRecreate:
		opts.Recreate, opts.RecreateDeps = scheduler.RecreateNever, scheduler.RecreateNever
	}
	if o.AlwaysRecreateDeps {
		opts.RecreateDeps = scheduler.RecreateAlways
	}
	j.defines, j.keep, j.orphans = true, true, !o.IgnoreOrphanWarning
	j.query = func(p *project.Project) scheduler.Query { return scheduler.QueryFor(p, opts) }
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.Build(p, s, opts)
	}
	return nil
}

func (j *job) run(o client.RunOptions) error {
	pull, err := pullPolicy(o.Pull)
	if err != nil {
		return err
	}
	opts := scheduler.OneOffOptions{
		Seed: rand.Text(), Now: time.Now(), Service: o.Service, Name: o.Name, NoDeps: o.NoDeps, Pull: pull, Config: o.Config, Host: o.Host,
		Builds:       scheduler.Builds{Sessions: o.Sessions, Always: o.Build, Never: o.NoBuild},
		ServicePorts: o.ServicePorts, Publish: o.Publish, UseAliases: o.UseAliases, AutoRemove: o.AutoRemove, RemoveOrphans: o.RemoveOrphans,
	}
	j.defines = true
	j.query = func(p *project.Project) scheduler.Query { return scheduler.QueryOneOff(p, opts) }
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		plan, _, err := scheduler.BuildOneOff(p, s, opts)
		return plan, err
	}
	return nil
}

func (j *job) pull(o client.PullOptions) error {
	policy, err := pullPolicy(o.Policy)
	if err != nil {
		return err
	}
	opts := scheduler.PullOptions{Services: j.services, IncludeDeps: o.IncludeDeps, Policy: policy, IgnoreFailures: o.IgnoreFailures, IgnoreBuildable: o.IgnoreBuildable}
	j.defines = true
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildPull(p, s, opts)
	}
	return nil
}

func (j *job) build(o client.BuildOptions) error {
	opts := scheduler.ImageOptions{Seed: rand.Text(), Sessions: o.Sessions, Services: j.services, WithDeps: o.WithDeps}
	j.defines = true
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildImages(p, s, opts)
	}
	return nil
}

func (j *job) down(o client.DownOptions) error {
	switch o.RemoveImages {
	case "", "local", "all":
	default:
		return badRequest("removeImages %q is neither \"local\" nor \"all\"", o.RemoveImages)
	}
	opts := scheduler.DownOptions{Services: j.services, Volumes: o.Volumes, Images: scheduler.ImageRemoval(o.RemoveImages), RemoveOrphans: o.RemoveOrphans, Timeout: o.Timeout}
	j.forget = len(j.services) == 0
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildDown(j.name, p, s, opts)
	}
	return nil
}

func (j *job) start(o client.StartOptions) error {
	opts := scheduler.StartOptions{Services: j.services, Wait: o.Wait, WaitTimeout: o.WaitTimeout}
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildStart(j.name, p, s, opts)
	}
	return nil
}

func (j *job) stop(o client.StopOptions) error {
	opts := scheduler.StopOptions{Services: j.services, Timeout: o.Timeout}
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildStop(j.name, p, s, opts)
	}
	return nil
}

func (j *job) restart(o client.RestartOptions) error {
	opts := scheduler.RestartOptions{Services: j.services, NoDeps: o.NoDeps, Timeout: o.Timeout}
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildRestart(j.name, p, s, opts)
	}
	return nil
}

func (j *job) kill(o client.KillOptions) error {
	opts := scheduler.KillOptions{Services: j.services, Signal: o.Signal, RemoveOrphans: o.RemoveOrphans}
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildKill(j.name, p, s, opts)
	}
	return nil
}

func (j *job) remove(o client.RemoveOptions) error {
	opts := scheduler.RemoveOptions{Services: j.services, Stop: o.Stop, Volumes: o.Volumes}
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return scheduler.BuildRemove(j.name, p, s, opts)
	}
	return nil
}

func (j *job) pause(build func(string, *project.Project, *scheduler.State, scheduler.PauseOptions) (*scheduler.Plan, error)) error {
	j.plan = func(p *project.Project, s *scheduler.State) (*scheduler.Plan, error) {
		return build(j.name, p, s, scheduler.PauseOptions{Services: j.services})
	}
	return nil
}

// pullPolicy reads the --pull flag.
func pullPolicy(s string) (project.PullPolicy, error) {
	switch s {
	case "", "policy":
		return "", nil
	case "always":
		return project.PullAlways, nil
	case "missing":
		return project.PullMissing, nil
	case "never":
		return project.PullNever, nil
	}
	return "", badRequest("pull policy %q is none of policy, always, missing and never", s)
}
