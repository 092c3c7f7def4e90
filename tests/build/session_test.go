package build_test

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/filesync"
	moby "github.com/moby/moby/client"
	"github.com/tonistiigi/fsutil"
)

// Builds of docker clients before the buildx plugin: a session has the files,
// or another request brings them, and BuildKit's progress comes back.
func TestBuildsWithSessions(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.Write("ctx/Dockerfile", "FROM "+image+"\nCOPY f /\nRUN cat /f\n")
	h.Write("ctx/f", "through the session")
	s, err := session.NewSession(h.ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := fsutil.NewFS(filepath.Join(h.Dir, "ctx"))
	if err != nil {
		t.Fatal(err)
	}
	s.Allow(filesync.NewFSSyncProvider(filesync.StaticDirSource{"context": dir, "dockerfile": dir}))
	api := h.engine()
	go s.Run(h.ctx, func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
		return api.DialHijack(ctx, "/session", proto, meta)
	})
	defer s.Close()
	traced := func(a answer) (said string) {
		for _, status := range a.trace {
			for _, l := range status.Logs {
				said += string(l.Msg)
			}
		}
		return said
	}
	a, err := h.classic(nil, moby.ImageBuildOptions{Version: "2", SessionID: s.ID(), RemoteContext: "client-session", BuildID: "first", Tags: []string{"one"}})
	if err != nil || a.fail != nil || !strings.Contains(traced(a), "through the session") {
		t.Fatalf("%v %v: %q", err, a.fail, traced(a))
	}
	if got := strings.TrimSpace(h.MustDocker("image", "inspect", "--format", "{{.Id}}", "one")); got != a.id {
		t.Errorf("the image is %q, the answer said %q", got, a.id)
	}

	uploaded := make(chan error, 1)
	body := tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nCOPY g /\nRUN cat /g\n", "g": "uploaded apart"})
	go func() {
		_, err := h.classic(body, moby.ImageBuildOptions{Version: "2", BuildID: "upload-request:second"})
		uploaded <- err
	}()
	a, err = h.classic(nil, moby.ImageBuildOptions{Version: "2", SessionID: s.ID(), RemoteContext: "upload-request", BuildID: "second", Tags: []string{"two"}})
	if err != nil || a.fail != nil || !strings.Contains(traced(a), "uploaded apart") {
		t.Errorf("%v %v: %q", err, a.fail, traced(a))
	}
	if err := <-uploaded; err != nil {
		t.Errorf("the upload: %v", err)
	}

	ended := make(chan answer, 1)
	go func() {
		a, _ := h.classic(tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nRUN sleep 3272\n"}), moby.ImageBuildOptions{BuildID: "third"})
		ended <- a
	}()
	harness.Eventually(t, "the step runs", func() error {
		if !running("3272") {
			return context.DeadlineExceeded
		}
		return nil
	})
	if _, err := api.BuildCancel(h.ctx, "third", moby.BuildCancelOptions{}); err != nil {
		t.Error(err)
	}
	if a := <-ended; a.fail == nil || running("3272") {
		t.Errorf("a build that was cancelled: %+v, runs: %v", a, running("3272"))
	}
	h.MustDocker("image", "rm", "one", "two")
}

// Steps have the default network or what was asked for.
func TestNetworksOfSteps(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.MustDocker("run", "-d", "--name", "web", image, "httpd", "-f", "-p", "80", "-h", "/etc")
	defer d.MustDocker("rm", "-f", "web")
	addr := strings.TrimSpace(d.MustDocker("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "web"))
	for _, tc := range []struct {
		network, run, want string
	}{
		{"default", "printf 'GET /hosts HTTP/1.0\\r\\n\\r\\n' | nc -w 5 " + addr + " 80", "ip6-localhost"},
		{"none", "ls /sys/class/net | tr '\\n' ' '", "lo "},
		{"host", "ls /sys/class/net | wc -l; test -e /sys/class/net/lo && echo of the host", "of the host"},
	} {
		r := d.DockerInput("FROM "+image+"\nRUN "+tc.run+"\n", "build", "--progress", "plain", "--no-cache", "--network", tc.network, "-t", "net", "-")
		if r.Code != 0 || !strings.Contains(r.Stderr, tc.want) {
			t.Errorf("%s: %s: no %q in %v", tc.network, tc.run, tc.want, r)
		}
	}
	d.MustDocker("image", "rm", "net")
	d.MustDocker("image", "prune", "-f")
}
