package registry_test

import (
	"testing"

	"gantry/tests/harness"
)

// A project's images are pushed side by side; one that cannot be fails the
// command, unless that is to be ignored, and hinders no other.
func TestProjectPush(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "user", "secret")
	if r := d.DockerInput("secret", "login", "-u", "user", "--password-stdin", addr); r.Code != 0 {
		t.Fatalf("login: %v", r)
	}
	for _, name := range []string{"web", "db"} {
		d.MustDocker("tag", image, addr+"/"+name+":1")
	}
	project := d.Project("p", `
name: p
services:
  web:
    image: `+addr+`/web:1
    depends_on: [db]
  db:
    image: `+addr+`/db:1
  gone:
    image: `+addr+`/gone:1
`)
	run := func(args ...string) harness.Result {
		t.Helper()
		cmd := d.Command(project, args...)
		cmd.Env = append(cmd.Env, "DOCKER_CONFIG="+d.Dir+"/docker-config")
		return d.Finish(cmd)
	}
	r := run("push", "web")
	if r.Code != 0 {
		t.Fatalf("%v", r)
	}
	if want := " Image " + addr + "/web:1  Pushing\n Image " + addr + "/web:1  Pushed\n"; r.Stderr != want {
		t.Errorf("push prints %q, want %q", r.Stderr, want)
	}
	has(t, d.FailDocker("pull", addr+"/db:1").Stderr, "manifest unknown")
	r = run("push", "gone", "db", "web")
	if r.Code == 0 {
		t.Error("an image that is not here was pushed")
	}
	has(t, r.Stderr, "An image does not exist locally with the tag: "+addr+"/gone")
	d.MustDocker("pull", addr+"/db:1")
	if r := run("push", "-q", "--ignore-push-failures", "gone", "web"); r.Code != 0 {
		t.Errorf("failures are not ignored: %v", r)
	}
}
