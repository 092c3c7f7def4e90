package build_test

import (
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

// A project's builds put their steps' results into caches of all kinds, and
// take them from there on another daemon.
func TestProjectsUseCaches(t *testing.T) {
	t.Parallel()
	d, other := daemon(t), daemon(t)
	reg := harness.Registry(t, "", "")
	local := filepath.Join(d.Dir, "kept")
	compose := func(host *harness.Daemon, keys string) string {
		return host.Project("app", "services:\n  web:\n    image: "+reg+"/app\n    build:\n      context: .\n"+keys, "Dockerfile", cached, "f", "x")
	}
	for name, c := range map[string]struct{ to, from string }{
		"registry":    {"      cache_to: [\"type=registry,ref=" + reg + "/c,mode=max\"]\n", "      cache_from: [" + reg + "/none, " + reg + "/c]\n"},
		"local":       {"      cache_to: [\"type=local,mode=max,dest=../kept\"]\n", "      cache_from: [\"type=local,src=" + local + "\", \"type=local,src=nowhere\"]\n"},
		"inline":      {"      cache_to: [type=inline]\n", "      cache_from: [" + reg + "/app]\n"},
		"an argument": {"      args: {BUILDKIT_INLINE_CACHE: 1}\n", "      cache_from: [\"type=registry,ref=" + reg + "/app\"]\n"},
	} {
		d.Must(compose(d, c.to), "build", "--push")
		other.MustDocker("builder", "prune", "-af")
		r := other.Gantry(compose(other, c.from), "--progress", "plain", "build")
		if ran := unbuilt(r.Stderr); r.Code != 0 || !strings.Contains(r.Stderr, "CACHED") || len(ran) > 0 {
			t.Errorf("%s: these steps ran: %q\n%v", name, ran, r)
		}
		if missing := strings.Contains(r.Stderr, "nowhere: nothing is taken from it"); missing != (name == "local") {
			t.Errorf("%s: %v", name, r)
		}
		other.MustDocker("image", "rm", reg+"/app")
	}
	r := d.Fail(compose(d, "      cache_to: [type=gha]\n"), "build")
	if !strings.Contains(r.Stderr, "compose.yaml:6") || !strings.Contains(r.Stderr, `cache type "gha" is not supported`) {
		t.Errorf("%v", r)
	}
	d.MustDocker("image", "rm", reg+"/app")
}
