package clients_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gantry/tests/busybox"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
	"github.com/testcontainers/testcontainers-go/network"
	"github.com/testcontainers/testcontainers-go/wait"
)

// lines collects what a container prints, by a consumer of Testcontainers.
type lines struct {
	mu   sync.Mutex
	all  []string
	seen chan struct{} // closed when wanted was printed
}

func (l *lines) Accept(entry testcontainers.Log) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line := entry.LogType + " " + strings.TrimSpace(string(entry.Content))
	l.all = append(l.all, line)
	if line == "STDERR last" {
		close(l.seen)
	}
}

// Testcontainers reads the daemon's place once from the environment of the
// whole process, so there is one test of it.
func TestTestcontainers(t *testing.T) {
	d := start(t, busybox.Expose("80/tcp"))
	t.Setenv("DOCKER_HOST", d.Host)
	t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true")
	// where tests themselves run in a container, it would ask for that one's gateway
	t.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n--- daemon\n%s", err, tail(d.Log()))
		}
	}
	end := func(c *testcontainers.DockerContainer) {
		t.Helper()
		must(c.Terminate(ctx, testcontainers.StopTimeout(0)))
	}

	nw, err := network.New(ctx)
	must(err)
	serve := "mkdir -p /www; echo hello > /www/index.html; echo listening; exec httpd -f -p 80 -h /www"
	web, err := testcontainers.Run(ctx, image,
		testcontainers.WithCmd("sh", "-c", serve),
		testcontainers.WithExposedPorts("80/tcp"),
		testcontainers.WithEnv(map[string]string{"A": "1"}),
		testcontainers.WithLabels(map[string]string{"mine": "yes"}),
		testcontainers.WithConfigModifier(func(c *container.Config) {
			c.Healthcheck = &container.HealthConfig{Test: []string{"CMD", "wget", "-qO-", "http://127.0.0.1/"}, Interval: time.Second}
		}),
		testcontainers.WithFiles(testcontainers.ContainerFile{Reader: strings.NewReader("from the start\n"), ContainerFilePath: "/tmp/early", FileMode: 0o600}),
		network.WithNetwork([]string{"front", "web"}, nw),
		testcontainers.WithWaitStrategy(
			wait.ForLog("listening"), wait.ForListeningPort("80/tcp"), wait.ForExec([]string{"test", "-e", "/www/index.html"}),
			wait.ForHTTP("/").WithPort("80/tcp").WithStatusCodeMatcher(func(status int) bool { return status == http.StatusOK }), wait.ForHealthCheck(),
		),
	)
	must(err)
	defer web.Terminate(context.WithoutCancel(ctx)) // it is terminated below unless the test fails

	url, err := web.PortEndpoint(ctx, "80/tcp", "http")
	must(err)
	resp, err := http.Get(url)
	must(err)
	page, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if must(err); string(page) != "hello\n" {
		t.Errorf("the page is %q", page)
	}
	code, out, err := web.Exec(ctx, []string{"sh", "-c", "echo $A; cat /tmp/early; exit 3"}, tcexec.Multiplexed())
	must(err)
	if b, _ := io.ReadAll(out); code != 3 || string(b) != "1\nfrom the start\n" {
		t.Errorf("exec: %d %q", code, b)
	}
	must(web.CopyToContainer(ctx, []byte("copied\n"), "/tmp/late", 0o644))
	back, err := web.CopyFileFromContainer(ctx, "/tmp/late")
	must(err)
	if b, err := io.ReadAll(back); err != nil || string(b) != "copied\n" {
		t.Errorf("copied back %q, %v", b, err)
	}
	back.Close()
	aliases, err := web.NetworkAliases(ctx)
	must(err)
	want(t, "aliases", strings.Join(aliases[nw.Name], " "), "front", "web")
	state, err := web.State(ctx)
	must(err)
	if !state.Running || state.Health == nil || state.Health.Status != container.Healthy {
		t.Errorf("state %+v", state)
	}

	said := &lines{seen: make(chan struct{})}
	asker, err := testcontainers.Run(ctx, image,
		testcontainers.WithCmd("sh", "-c", "wget -qO- http://front/ && echo last >&2"),
		testcontainers.WithLogConsumers(said),
		network.WithNetwork(nil, nw),
		testcontainers.WithWaitStrategy(wait.ForExit()),
	)
	must(err)
	select {
	case <-said.seen:
	case <-ctx.Done():
		t.Errorf("the consumer got %q", said.all)
	}
	logs, err := asker.Logs(ctx)
	must(err)
	if b, err := io.ReadAll(logs); err != nil || string(b) != "hello\nlast\n" && string(b) != "last\nhello\n" {
		t.Errorf("log %q, %v", b, err)
	}
	logs.Close()
	end(asker)

	at := time.Duration(0)
	must(web.Stop(ctx, &at))
	must(web.Start(ctx))
	end(web)
	must(nw.Remove(ctx))
	d.NoLeaks()
}
