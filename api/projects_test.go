package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/engine"
	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/memory"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// shelf keeps projects in memory.
type shelf struct {
	mu     sync.Mutex
	kept   map[string]*project.Project
	token  chan struct{}
	holder string
}

func newShelf() *shelf {
	s := &shelf{kept: map[string]*project.Project{}, token: make(chan struct{}, 1)}
	s.token <- struct{}{}
	return s
}

func (s *shelf) LockProject(ctx context.Context, _, holder string, waiting func(string)) (func(), error) {
	select {
	case <-s.token:
	default:
		waiting(s.holder)
		select {
		case <-s.token:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.holder = holder
	return func() { s.token <- struct{}{} }, nil
}

func (s *shelf) SaveProject(p *project.Project) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[p.Name] = p
	return nil
}

func (s *shelf) LoadProject(name string) (*project.Project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.kept[name]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("project %q: %w", name, errdefs.ErrNotFound)
}

func (s *shelf) ForgetProject(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, name)
	return nil
}

// yard is a server of projects over the scheduler's machine in memory.
type yard struct {
	driver *memory.Driver
	shelf  *shelf
	server *served
	left   chan struct{} // closed when the context of the first request ends
	*client.Client
}

func newYard(t *testing.T) *yard {
	y := &yard{driver: memory.New(), shelf: newShelf(), left: make(chan struct{})}
	y.driver.Load("img", scheduler.Image{ID: "sha256:1"})
	b := refusing()
	b.projects, b.driver = y.shelf, y.driver
	h := newHandler(b, "")
	var first sync.Once
	y.server = serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { context.AfterFunc(r.Context(), func() { close(y.left) }) })
		h.ServeHTTP(w, r)
	}))
	y.Client = client.New(func(context.Context) (net.Conn, error) { return net.Dial("unix", y.server.socket) })
	t.Cleanup(y.Close)
	return y
}

// shop is a project of services that depend on the one before.
func shop(names ...string) *project.Project {
	p := &project.Project{Name: "shop", WorkingDir: "/", Networks: []project.Network{{Key: "default", Name: "shop_default", Hash: "1",
		Create: network.CreateRequest{Name: "shop_default", Driver: "bridge", Labels: map[string]string{project.LabelProject: "shop", project.LabelNetwork: "default"}}}}}
	for i, name := range names {
		s := project.Service{Name: name, Image: "img", Replicas: 1, Hash: "1",
			Config: container.Config{Cmd: []string{"sleep"}, Labels: map[string]string{
				project.LabelProject: "shop", project.LabelService: name, project.LabelHash: "1"}},
			HostConfig: container.HostConfig{NetworkMode: "shop_default"},
			Networks:   []project.Attachment{{Network: "default", Name: "shop_default", Aliases: []string{name}}}}
		if i > 0 {
			s.DependsOn = []project.Dependency{{Service: names[i-1], Condition: project.Started, Required: true}}
		}
		p.Services = append(p.Services, s)
	}
	slices.SortFunc(p.Services, func(a, b project.Service) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// do carries a verb out and returns its events as text.
func do[O any](t *testing.T, y *yard, verb client.Verb, req client.Request[O]) ([]string, error) {
	t.Helper()
	var got []string
	err := client.Do(testContext(t), y.Client, "shop", verb, req, func(e scheduler.Event) {
		switch {
		case e.Kind == client.KindPlan:
			got = append(got, fmt.Sprintf("%d steps", e.Progress.Total))
		case e.Status == scheduler.StatusDone:
			got = append(got, e.Verb+" "+e.Name)
		case e.Step < 0:
			got = append(got, e.Kind+": "+e.Progress.Text)
		}
	})
	return got, err
}

func (y *yard) up(t *testing.T, p *project.Project) []string {
	t.Helper()
	got, err := do(t, y, client.VerbUp, client.Request[client.UpOptions]{Project: p})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestUpTwice(t *testing.T) {
	y := newYard(t)
	p := shop("db", "web")
	first := y.up(t, p)
	if n := len(first); n != 6 || first[0] != "5 steps" || first[n-1] != "start shop-web-1" {
		t.Errorf("first up: %q", first)
	}
	if second := y.up(t, p); !slices.Equal(second, []string{"0 steps"}) {
		t.Errorf("second up: %q", second)
	}
	if got, err := y.Project(testContext(t), "shop"); err != nil || len(got.Services) != 2 {
		t.Errorf("stored: %+v, %v", got, err)
	}
	// nothing sent: what was last asked for
	if third := y.up(t, nil); !slices.Equal(third, []string{"0 steps"}) {
		t.Errorf("up of the stored project: %q", third)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	y := newYard(t)
	got, err := client.Plan(testContext(t), y.Client, "shop", client.VerbUp, client.Request[client.UpOptions]{Project: shop("db")})
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(got.Text), "\n"); len(lines) != 3 || !strings.Contains(lines[2], "start container shop-db-1") {
		t.Errorf("plan: %q", got.Text)
	}
	if len(y.driver.Journal()) != 0 || len(y.shelf.kept) != 0 {
		t.Errorf("it did %v and kept %v", y.driver.Journal(), y.shelf.kept)
	}
}

// What is wrong is said before anything happens.
func TestRefusalsChangeNothing(t *testing.T) {
	circle := shop("a", "b")
	circle.Services[0].DependsOn = []project.Dependency{{Service: "b", Condition: project.Started, Required: true}}
	elsewhere := shop("a")
	elsewhere.Name = "other"
	unknown := shop("a")
	unknown.Services[0].Image = "nowhere"
	for name, c := range map[string]struct {
		req  client.Request[client.UpOptions]
		is   func(error) bool
		says string
	}{
		"a circle":            {client.Request[client.UpOptions]{Project: circle}, errdefs.IsInvalidArgument, "b"},
		"another name":        {client.Request[client.UpOptions]{Project: elsewhere}, errdefs.IsInvalidArgument, "other"},
		"an unknown image":    {client.Request[client.UpOptions]{Project: unknown}, errdefs.IsNotFound, "nowhere"},
		"an unknown service":  {client.Request[client.UpOptions]{Project: shop("a"), Services: []string{"z"}}, errdefs.IsNotFound, "z"},
		"no definition":       {client.Request[client.UpOptions]{}, errdefs.IsNotFound, "shop"},
		"an unknown policy":   {client.Request[client.UpOptions]{Project: shop("a"), Options: client.UpOptions{Pull: "maybe"}}, errdefs.IsInvalidArgument, "maybe"},
		"contradicting flags": {client.Request[client.UpOptions]{Project: shop("a"), Options: client.UpOptions{ForceRecreate: true, NoRecreate: true}}, errdefs.IsInvalidArgument, "noRecreate"},
	} {
		t.Run(name, func(t *testing.T) {
			y := newYard(t)
			got, err := do(t, y, client.VerbUp, c.req)
			if err == nil || !c.is(err) || !strings.Contains(err.Error(), c.says) || len(got) != 0 {
				t.Errorf("got %q, %v", got, err)
			}
			if len(y.driver.Journal()) != 0 || len(y.shelf.kept) != 0 {
				t.Errorf("it did %v and kept %v", y.driver.Journal(), y.shelf.kept)
			}
		})
	}
}

func TestFailureIsTheLastEvent(t *testing.T) {
	y := newYard(t)
	y.driver.Fault = func(a scheduler.Action) (before, after error) {
		if s, ok := a.(scheduler.StartContainer); ok && s.Service == "db" {
			return fmt.Errorf("no room: %w", errdefs.ErrResourceExhausted), nil
		}
		return nil, nil
	}
	_, err := do(t, y, client.VerbUp, client.Request[client.UpOptions]{Project: shop("db", "web")})
	if err == nil || !strings.Contains(err.Error(), "no room") || !strings.Contains(err.Error(), "shop-db-1") {
		t.Errorf("got %v", err)
	}
	y.driver.Fault = nil
	y.up(t, nil) // up again completes it
	if again := y.up(t, nil); !slices.Equal(again, []string{"0 steps"}) {
		t.Errorf("then: %q", again)
	}
}

func TestSecondCommandWaitsAndSaysSo(t *testing.T) {
	y := newYard(t)
	entered, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(entered) })
	y.driver.Fault = func(scheduler.Action) (before, after error) { once(); <-release; return nil, nil }
	first := make(chan error, 1)
	go func() {
		first <- client.Do(testContext(t), y.Client, "shop", client.VerbUp, client.Request[client.UpOptions]{Project: shop("db"), Holder: "gantry up (pid 7)"}, func(scheduler.Event) {})
	}()
	await(t, entered, "the first command works")
	var events []scheduler.Event
	err := client.Do(testContext(t), y.Client, "shop", client.VerbUp, client.Request[client.UpOptions]{Project: shop("db")}, func(e scheduler.Event) {
		if e.Kind == client.KindWaiting {
			close(release)
		}
		events = append(events, e)
	})
	if err != nil || <-first != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || events[0].Progress.Text != "gantry up (pid 7)" || events[1].Progress.Total != 0 {
		t.Errorf("got %+v", events)
	}
}

// A client that leaves in the middle: what is under way finishes, nothing new
// begins, and the project is free again.
func TestClientThatLeavesEndsItsCommand(t *testing.T) {
	y := newYard(t)
	entered, release := make(chan struct{}), make(chan struct{})
	y.driver.Fault = func(a scheduler.Action) (before, after error) {
		if s, ok := a.(scheduler.StartContainer); ok && s.Service == "db" {
			close(entered)
			<-release
		}
		return nil, nil
	}
	ctx, leave := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() {
		done <- client.Do(ctx, y.Client, "shop", client.VerbUp, client.Request[client.UpOptions]{Project: shop("db", "web")}, func(scheduler.Event) {})
	}()
	await(t, entered, "the first start is under way")
	leave()
	if err := <-done; err == nil {
		t.Error("the client saw no error")
	}
	await(t, y.left, "the server notices")
	state := func(c string) container.ContainerState {
		s, err := y.driver.Observe(testContext(t), scheduler.Query{Project: "shop"})
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range s.Containers {
			if got.Service == c {
				return got.Status
			}
		}
		return ""
	}
	close(release)
	select {
	case <-y.shelf.token:
	case <-time.After(patience):
		t.Fatal("the project is not free again")
	}
	y.shelf.token <- struct{}{}
	if db, web := state("db"), state("web"); db != container.StateRunning || web != container.StateCreated {
		t.Errorf("db is %s, web is %s", db, web)
	}
}

func TestDownForgetsAllOrNothing(t *testing.T) {
	y := newYard(t)
	y.up(t, shop("db", "web"))
	if _, err := do(t, y, client.VerbDown, client.Request[client.DownOptions]{Services: []string{"web"}}); err != nil {
		t.Fatal(err)
	}
	if len(y.shelf.kept) != 1 {
		t.Error("down of one service forgets the project")
	}
	got, err := do(t, y, client.VerbDown, client.Request[client.DownOptions]{})
	if err != nil || got[len(got)-1] != "remove shop_default" {
		t.Errorf("down: %q, %v", got, err)
	}
	if len(y.shelf.kept) != 0 {
		t.Error("down does not forget the project")
	}
	if _, err := y.Project(testContext(t), "shop"); !errdefs.IsNotFound(err) {
		t.Errorf("stored after down: %v", err)
	}
}

func TestEveryVerb(t *testing.T) {
	y := newYard(t)
	p := shop("db", "web")
	check := func(verb client.Verb, got []string, err error, want string) {
		t.Helper()
		if err != nil || !slices.Contains(got, want) {
			t.Errorf("%s: %q, %v, want %q", verb, got, err, want)
		}
	}
	web := []string{"web"}
	got, err := do(t, y, client.VerbCreate, client.Request[client.UpOptions]{Project: p})
	check(client.VerbCreate, got, err, "create shop-web-1")
	got, err = do(t, y, client.VerbStart, client.Request[client.StartOptions]{})
	check(client.VerbStart, got, err, "start shop-web-1")
	got, err = do(t, y, client.VerbPause, client.Request[client.NoOptions]{Services: web})
	check(client.VerbPause, got, err, "pause shop-web-1")
	got, err = do(t, y, client.VerbUnpause, client.Request[client.NoOptions]{Services: web})
	check(client.VerbUnpause, got, err, "unpause shop-web-1")
	got, err = do(t, y, client.VerbRestart, client.Request[client.RestartOptions]{Services: web})
	check(client.VerbRestart, got, err, "restart shop-web-1")
	got, err = do(t, y, client.VerbStop, client.Request[client.StopOptions]{})
	check(client.VerbStop, got, err, "stop shop-db-1")
	got, err = do(t, y, client.VerbRemove, client.Request[client.RemoveOptions]{Services: web})
	check(client.VerbRemove, got, err, "remove shop-web-1")
	got, err = do(t, y, client.VerbRun, client.Request[client.RunOptions]{Options: client.RunOptions{Service: "web", Name: "once"}})
	check(client.VerbRun, got, err, "create once")
	got, err = do(t, y, client.VerbKill, client.Request[client.KillOptions]{Services: []string{"db"}})
	check(client.VerbKill, got, err, "kill shop-db-1")
	y.driver.Publish("img", scheduler.Image{ID: "sha256:2"})
	got, err = do(t, y, client.VerbPull, client.Request[client.PullOptions]{})
	check(client.VerbPull, got, err, "pull img")
}

// A warning is told, and may be unwanted.
func TestWarnings(t *testing.T) {
	y := newYard(t)
	y.up(t, shop("db", "web"))
	got := y.up(t, shop("db"))
	if len(got) != 2 || !strings.HasPrefix(got[0], client.KindWarning+": ") || !strings.Contains(got[0], "shop-web-1") {
		t.Errorf("got %q", got)
	}
	quiet := client.Request[client.UpOptions]{Project: shop("db"), Options: client.UpOptions{IgnoreOrphanWarning: true}}
	if got, err := do(t, y, client.VerbUp, quiet); err != nil || !slices.Equal(got, []string{"0 steps"}) {
		t.Errorf("quiet: %q, %v", got, err)
	}
}

// cast plays containers that are listed.
type cast struct {
	refuser
	items []container.Summary
	asked *engine.ListOptions
}

func (c cast) ListContainers(_ context.Context, o engine.ListOptions) ([]container.Summary, error) {
	*c.asked = o
	return c.items, nil
}

func TestProjectsAreToldByTheirContainers(t *testing.T) {
	labels := func(name, files string) map[string]string {
		return map[string]string{project.LabelProject: name, project.LabelConfigFiles: files}
	}
	var asked engine.ListOptions
	b := refusing()
	b.inspector = cast{asked: &asked, items: []container.Summary{
		{State: "running", Labels: labels("web", "/a/compose.yaml,/a/more.yaml")},
		{State: "exited", Labels: labels("web", "/a/compose.yaml")},
		{State: "running", Labels: labels("web", "")},
		{State: "created", Labels: labels("app", "/b/compose.yaml")},
	}}
	s := serveBackends(t, b)
	c := client.New(func(context.Context) (net.Conn, error) { return net.Dial("unix", s.socket) })
	t.Cleanup(c.Close)
	got, err := c.Projects(testContext(t), true)
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got[0].Name != "app" || got[0].States["created"] != 1 || got[1].Name != "web" || got[1].States["running"] != 2 || got[1].States["exited"] != 1 {
		t.Errorf("got %+v", got)
	}
	if !slices.Equal(got[1].ConfigFiles, []string{"/a/compose.yaml", "/a/more.yaml"}) {
		t.Errorf("files %q", got[1].ConfigFiles)
	}
	if !asked.All || !slices.Equal(asked.Filters["label"], []string{project.LabelProject}) {
		t.Errorf("asked for %+v", asked)
	}
}
