// Package clients_test drives a real daemon with the clients that people have:
// old and new docker command lines, Docker Compose 1, the Python SDK, Go's
// client at old and new versions, and Testcontainers.
package clients_test

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gantry/tests/busybox"
	"gantry/tests/harness"

	moby "github.com/moby/moby/client"
)

const (
	image    = "busybox:test"
	patience = 2 * time.Minute
)

// start runs a daemon with a busybox image. What a test's clients leave is
// removed before the harness looks for it.
func start(t *testing.T, opts ...busybox.Option) *harness.Daemon {
	t.Helper()
	d := harness.Start(t)
	d.Busybox(image, opts...)
	t.Cleanup(func() {
		c := client(t, d)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		all, err := c.ContainerList(ctx, moby.ContainerListOptions{All: true})
		if err != nil {
			t.Errorf("list what is left: %v", err)
		}
		for _, left := range all.Items {
			if _, err := c.ContainerRemove(ctx, left.ID, moby.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
				t.Errorf("remove %v: %v", left.Names, err)
			}
		}
		nets, err := c.NetworkList(ctx, moby.NetworkListOptions{Filters: moby.Filters{}.Add("type", "custom")})
		if err != nil {
			t.Errorf("list what is left: %v", err)
		}
		for _, n := range nets.Items {
			if _, err := c.NetworkRemove(ctx, n.ID, moby.NetworkRemoveOptions{}); err != nil {
				t.Errorf("remove network %q: %v", n.Name, err)
			}
		}
	})
	return d
}

func client(t *testing.T, d *harness.Daemon, opts ...moby.Opt) *moby.Client {
	t.Helper()
	c, err := moby.New(append([]moby.Opt{moby.WithHost(d.Host)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// run runs a client's program to its end and returns what it printed.
func run(t *testing.T, d *harness.Daemon, dir, program string, args ...string) string {
	t.Helper()
	return runWith(t, d, dir, nil, program, args...)
}

// runWith is run with more of an environment: NAME=value.
func runWith(t *testing.T, d *harness.Daemon, dir string, env []string, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Environ(), "DOCKER_HOST="+d.Host, "DOCKER_CONFIG="+d.Dir+"/docker-config", "HOME="+d.Dir+"/home", "COMPOSE_PROJECT_NAME=", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Env = append(cmd.Env, env...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n--- stdout\n%s--- stderr\n%s--- daemon\n%s", program, strings.Join(args, " "), err, out.String(), errs.String(), tail(d.Log()))
	}
	return out.String()
}

// want fails the test unless text has all of the parts.
func want(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: no %q in\n%s", what, p, text)
		}
	}
}

// tail is the end of a daemon's log.
func tail(log string) string { return log[max(0, len(log)-3000):] }
