package registry_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The user's credentials are in the configuration or with a helper; the docker
// command line and the project verbs send them.
func TestCredentials(t *testing.T) {
	d := start(t)
	addr := harness.Registry(t, "user", "secret")
	ref := addr + "/app:1"
	d.MustDocker("tag", image, ref)
	if r := d.DockerInput("wrong", "login", "-u", "user", "--password-stdin", addr); r.Code == 0 {
		t.Error("a wrong password is taken")
	}
	has(t, d.FailDocker("push", ref).Stderr, "push access denied")
	if r := d.DockerInput("secret", "login", "-u", "user", "--password-stdin", addr); r.Code != 0 {
		t.Fatalf("login: %v", r)
	}
	d.MustDocker("push", ref)
	d.MustDocker("rmi", ref)
	d.MustDocker("pull", ref)
	d.MustDocker("rmi", ref)

	project := filepath.Dir(d.Write("p/compose.yaml", "name: p\nservices:\n  web:\n    image: "+ref+"\n    command: sleep 1000\n    init: true\n"))
	run := func(args ...string) harness.Result {
		cmd := d.Called("gantry", project, args...)
		cmd.Env = append(cmd.Env, "GANTRY_HOST="+d.Host)
		return d.Finish(cmd)
	}
	must := func(args ...string) {
		t.Helper()
		if r := run(args...); r.Code != 0 {
			t.Fatalf("%v", r)
		}
	}
	must("pull")
	d.MustDocker("rmi", ref)
	must("up", "-d", "--pull", "always")
	must("down", "--rmi", "all")

	d.MustDocker("logout", addr)
	if r := run("up", "-d"); r.Code == 0 {
		t.Error("an image came without credentials")
	} else {
		has(t, r.Stderr, "pull access denied for "+addr+"/app")
	}

	// The same from a helper, which is a program of the user's.
	answer, err := json.Marshal(map[string]string{"ServerURL": addr, "Username": "user", "Secret": "secret"})
	if err != nil {
		t.Fatal(err)
	}
	helper := d.Write("bin/docker-credential-test", "#!/bin/sh\necho '"+string(answer)+"'\n")
	if err := os.Chmod(helper, 0o755); err != nil {
		t.Fatal(err)
	}
	d.Write("docker-config/config.json", `{"credHelpers": {"`+addr+`": "test"}}`)
	t.Setenv("PATH", filepath.Dir(helper)+":"+os.Getenv("PATH"))
	must("up", "-d")
	must("down")

	// Nothing of it stays with the daemon.
	harness.Files(t, d.Data(), func(path string, _ fs.FileInfo) {
		if filepath.Ext(path) == ".json" {
			if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), "secret") {
				t.Errorf("%s holds the password", path)
			}
		}
	})
	if strings.Contains(read(t, filepath.Join(d.Dir, "daemon.log")), "secret") {
		t.Error("the daemon's log holds the password")
	}
}
