package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"gantry/api/client"
	"gantry/engine"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types"
)

// projectStore keeps what was last asked for of projects, and who works on them.
type projectStore interface {
	LockProject(ctx context.Context, name, holder string, waiting func(holder string)) (unlock func(), err error)
	SaveProject(p *project.Project) error
	LoadProject(name string) (*project.Project, error)
	ForgetProject(name string) error
}

type projectRoutes struct {
	projectStore
	driver scheduler.Driver
	inspector
}

func (p projectRoutes) routes() []route {
	return []route{
		{"GET " + client.RouteProjects, p.list},
		{"GET " + client.RouteProject, p.stored},
		{"POST " + client.RouteVerb, p.verb},
		{"POST " + client.RoutePlan, p.plan},
	}
}

// list tells of the projects that have containers, as docker compose ls does.
func (p projectRoutes) list(w http.ResponseWriter, r *http.Request) error {
	cs, err := p.ListContainers(r.Context(), engine.ListOptions{All: flag(r, "all"), Filters: engine.Filters{"label": {project.LabelProject}}})
	if err != nil {
		return err
	}
	found := map[string]*client.Summary{}
	for _, c := range cs {
		name := c.Labels[project.LabelProject]
		s := found[name]
		if s == nil {
			s = &client.Summary{Name: name, States: map[string]int{}}
			found[name] = s
		}
		s.States[string(c.State)]++
		for _, file := range strings.Split(c.Labels[project.LabelConfigFiles], ",") {
			if file != "" && !slices.Contains(s.ConfigFiles, file) {
				s.ConfigFiles = append(s.ConfigFiles, file)
			}
		}
	}
	out := make([]client.Summary, 0, len(found))
	for _, s := range found {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b client.Summary) int { return strings.Compare(a.Name, b.Name) })
	return writeJSON(w, http.StatusOK, out)
}

func (p projectRoutes) stored(w http.ResponseWriter, r *http.Request) error {
	got, err := p.LoadProject(r.PathValue("name"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, got)
}

// plan answers what a verb would do and does nothing.
func (p projectRoutes) plan(w http.ResponseWriter, r *http.Request) error {
	j, err := readJob(client.Verb(r.URL.Query().Get("verb")), w, r)
	if err != nil {
		return err
	}
	plan, err := p.build(engine.WithCredentials(r.Context(), j.credentials), j)
	if err != nil {
		return err
	}
	bare := *plan
	bare.Warnings = nil
	return writeJSON(w, http.StatusOK, client.PlanResponse{Text: bare.String(), Warnings: plan.Warnings})
}

// verb does what is asked of a project: one command at a time, planned and then
// run, with events as it goes. A client that leaves ends it: what is under way
// finishes, nothing new begins.
func (p projectRoutes) verb(w http.ResponseWriter, r *http.Request) error {
	j, err := readJob(client.Verb(r.PathValue("verb")), w, r)
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	out := newOutbox(w, types.MediaTypeNDJSON)
	defer out.close()
	err = p.do(engine.WithCredentials(ctx, j.credentials), j, out)
	if err != nil && !out.begun() {
		return err
	}
	if err != nil {
		err = errors.New(messageOf(err))
		log.G(ctx).WithError(err).Infof("%s of project %q", r.PathValue("verb"), j.name)
	}
	out.put(client.FinalEvent(err))
	return nil
}

func (p projectRoutes) do(ctx context.Context, j *job, out *outbox) error {
	unlock, err := p.LockProject(ctx, j.name, j.holder, func(holder string) { out.put(client.WaitingEvent(holder)) })
	if err != nil {
		return err
	}
	defer unlock()
	plan, err := p.build(ctx, j)
	if err != nil {
		return err
	}
	if j.keep && j.project != nil {
		if err := p.SaveProject(j.project); err != nil {
			return err
		}
	}
	for _, text := range plan.Warnings {
		out.put(client.WarningEvent(text))
	}
	out.put(client.PlanEvent(len(plan.Steps)))
	err = scheduler.Run(ctx, plan, p.driver, scheduler.RunOptions{Workers: j.parallel}, func(e scheduler.Event) {
		if e.Status == scheduler.StatusProgress {
			out.hint(e)
		} else {
			out.put(e)
		}
	})
	if err == nil && j.forget {
		err = p.ForgetProject(j.name)
	}
	return err
}

// build plans a job on what is there now.
func (p projectRoutes) build(ctx context.Context, j *job) (*scheduler.Plan, error) {
	desired := j.project
	if desired == nil {
		stored, err := p.LoadProject(j.name)
		switch {
		case err == nil:
			desired = stored
		case !errdefs.IsNotFound(err):
			return nil, err
		case j.defines:
			return nil, fmt.Errorf("project %q has never been up here, send its definition: %w", j.name, errdefs.ErrNotFound)
		}
	}
	state, err := p.driver.Observe(ctx, j.query(desired))
	if err != nil {
		return nil, err
	}
	plan, err := j.plan(desired, state)
	if err == nil && !j.orphans {
		plan.Warnings = slices.DeleteFunc(plan.Warnings, ofOrphans)
	}
	return plan, err
}

// ofOrphans tells the planner's warning of orphans from its others.
func ofOrphans(warning string) bool { return strings.Contains(warning, "--remove-orphans") }
