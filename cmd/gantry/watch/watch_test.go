package watch

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/project"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// files makes files, by path and content; a path that ends in / is a directory.
func files(t *testing.T, dir string, list ...string) {
	t.Helper()
	for i := 0; i < len(list); i += 2 {
		path := filepath.Join(dir, list[i])
		if strings.HasSuffix(list[i], "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(list[i+1]), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
}

func rules(t *testing.T, services ...project.Service) []Rule {
	t.Helper()
	out, err := Rules(&project.Project{Services: services}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestChangesLeadToWork(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, ".dockerignore", "build\n*.log\n!keep.log\n", "src/", "", "src/sub/", "", "package.json", "{}")
	at := func(name string) string { return filepath.Join(dir, name) }
	reload := &project.Hook{Command: []string{"reload"}}
	r := rules(t,
		project.Service{Name: "api", Build: &project.Build{Context: dir, Dockerfile: at("Dockerfile")}, Watch: []project.Watch{
			{Path: dir, Action: project.WatchSync, Target: "/app", Ignore: []string{"node_modules/", "package.json"}},
			{Path: at("package.json"), Action: project.WatchRebuild},
		}},
		project.Service{Name: "web", Watch: []project.Watch{
			{Path: at("src"), Action: project.WatchSyncRestart, Target: "/srv", Include: []string{"**/*.html"}},
			{Path: at("src"), Action: project.WatchSyncExec, Target: "/conf", Include: []string{"*.conf"}, Exec: reload},
			{Path: at("restart"), Action: project.WatchRestart},
		}},
	)
	for _, c := range []struct {
		name             string
		changed          []string
		rebuild, restart []string
		sync             map[string][]string // service to HOST>TARGET
		exec             map[string][]project.Hook
	}{
		{"a file", []string{"main.go"}, nil, nil, map[string][]string{"api": {"main.go>/app/main.go"}}, nil},
		{"one below", []string{"src/sub/x.go"}, nil, nil, map[string][]string{"api": {"src/sub/x.go>/app/src/sub/x.go"}}, nil},
		{"ignored by the rule", []string{"node_modules/a/b.js", "node_modules"}, nil, nil, nil, nil},
		{"ignored by .dockerignore", []string{"build/out", "x.log"}, nil, nil, nil, nil},
		{"excepted by .dockerignore", []string{"keep.log"}, nil, nil, map[string][]string{"api": {"keep.log>/app/keep.log"}}, nil},
		{"an editor's", []string{"main.go~", ".main.go.swp", "src/4913", ".git/index"}, nil, nil, nil, nil},
		{"elsewhere", []string{"../other"}, nil, nil, nil, nil},
		{"rebuilt instead of synced", []string{"package.json", "main.go"}, []string{"api"}, nil, nil, nil},
		{"included", []string{"src/a.html", "src/sub/b.html", "src/c.css"}, nil, []string{"web"}, map[string][]string{
			"api": {"src/a.html>/app/src/a.html", "src/c.css>/app/src/c.css", "src/sub/b.html>/app/src/sub/b.html"},
			"web": {"src/a.html>/srv/a.html", "src/sub/b.html>/srv/sub/b.html"}}, nil},
		{"a directory that may hold what is included", []string{"src/sub"}, nil, []string{"web"}, map[string][]string{
			"api": {"src/sub>/app/src/sub"}, "web": {"src/sub>/conf/sub", "src/sub>/srv/sub"}}, map[string][]project.Hook{"web": {*reload}}},
		{"exec once for many", []string{"src/a.conf", "src/b.conf"}, nil, nil, map[string][]string{
			"api": {"src/a.conf>/app/src/a.conf", "src/b.conf>/app/src/b.conf"}, "web": {"src/a.conf>/conf/a.conf", "src/b.conf>/conf/b.conf"}},
			map[string][]project.Hook{"web": {*reload}}},
		{"restart alone", []string{"restart/now"}, nil, []string{"web"}, map[string][]string{"api": {"restart/now>/app/restart/now"}}, nil},
	} {
		var changed []string
		for _, name := range c.changed {
			changed = append(changed, at(name))
		}
		got := Plan(r, changed)
		sync := map[string][]string{}
		for service, list := range got.Sync {
			for _, copied := range list {
				rel, _ := filepath.Rel(dir, copied.Host)
				sync[service] = append(sync[service], rel+">"+copied.Target)
			}
		}
		for _, d := range []string{
			cmp.Diff(c.rebuild, got.Rebuild, cmpopts.EquateEmpty()), cmp.Diff(c.restart, got.Restart, cmpopts.EquateEmpty()),
			cmp.Diff(c.sync, sync, cmpopts.EquateEmpty()), cmp.Diff(c.exec, got.Exec, cmpopts.EquateEmpty()),
		} {
			if d != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, d)
			}
		}
	}
}

func TestArchiveHoldsWhatTheRuleMeans(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "a/one", "1", "a/skip/x", "x", "a/empty/", "", "a/deep/er/two", "22")
	if err := os.Symlink("one", filepath.Join(dir, "a/link")); err != nil {
		t.Fatal(err)
	}
	r := rules(t, project.Service{Name: "s", Watch: []project.Watch{{Path: dir, Action: project.WatchSync, Target: "/app", Ignore: []string{"a/skip"}}}})
	work := Plan(r, []string{filepath.Join(dir, "a"), filepath.Join(dir, "gone"), filepath.Join(dir, "a/one/was/a/directory")})
	if got, gone := archived(t, work.Sync["s"]); !slices.Equal(gone, []string{"/app/gone"}) ||
		!slices.Equal(got, []string{"app/a=", "app/a/deep=", "app/a/deep/er=", "app/a/deep/er/two=22", "app/a/empty=", "app/a/link=one", "app/a/one=1"}) {
		t.Errorf("archive %q, gone %q", got, gone)
	}
	// what is in the container keeps its owners when all is copied
	if got, _ := archived(t, []Copy{{Rule: &r[0], Host: dir, Target: "/app"}}); !slices.Equal(got, []string{"app/a/deep/er/two=22", "app/a/empty=", "app/a/link=one", "app/a/one=1"}) {
		t.Errorf("at first the archive is %q", got)
	}
}

// archived is what copies bring, as NAME=CONTENT.
func archived(t *testing.T, copies []Copy) (got, gone []string) {
	t.Helper()
	var b bytes.Buffer
	gone, err := Archive(&b, copies)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(&b); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(archive)
		got = append(got, h.Name+"="+string(content)+h.Linkname)
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s belongs to %d:%d %s", h.Name, h.Uid, h.Gid, h.Uname)
		}
	}
	return got, gone
}

func TestTreeTellsOfChanges(t *testing.T) {
	dir := t.TempDir()
	files(t, dir, "src/a", "1", "src/node_modules/lib", "x", "single", "s", "other", "o")
	tree, err := Open(rules(t, project.Service{Name: "s", Watch: []project.Watch{
		{Path: filepath.Join(dir, "src"), Action: project.WatchSync, Target: "/app", Ignore: []string{"node_modules"}},
		{Path: filepath.Join(dir, "single"), Action: project.WatchRestart},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	told := make(chan []string)
	go tree.Run(ctx, func(list []string) {
		select {
		case told <- list:
		case <-ctx.Done():
		}
	})
	expect := func(names ...string) {
		t.Helper()
		missing := map[string]bool{}
		for _, name := range names {
			missing[filepath.Join(dir, name)] = true
		}
		for len(missing) > 0 {
			select {
			case list := <-told:
				for _, file := range list {
					delete(missing, file)
					if strings.Contains(file, "node_modules/") {
						t.Errorf("told of %s", file)
					}
				}
			case <-ctx.Done():
				t.Fatalf("not told of %v", missing)
			}
		}
	}
	files(t, dir, "src/a", "2", "src/node_modules/lib", "y")
	expect("src/a")
	files(t, dir, "src/new/deep/b", "1") // in directories that nobody watches yet
	expect("src/new")
	files(t, dir, "src/new/deep/c", "1")
	expect("src/new/deep/c")
	if err := errors.Join(os.Remove(filepath.Join(dir, "src/a")), os.Rename(filepath.Join(dir, "other"), filepath.Join(dir, "single"))); err != nil {
		t.Fatal(err)
	}
	expect("src/a", "single") // an editor's way to write a file
}
