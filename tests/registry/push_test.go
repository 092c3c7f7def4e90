package registry_test

import (
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/authconfig"
	"github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/client"
)

// What is pushed is what others pull, to the byte.
func TestPush(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	ref := addr + "/team/app"
	d.MustDocker("tag", image, ref+":1")
	id := idOf(d, image)

	out := d.MustDocker("push", ref+":1")
	has(t, out, "The push refers to repository ["+ref+"]", ": Pushed", "1: digest: sha256:", " size: ")
	digest := strings.Fields(out[strings.Index(out, "digest: "):])[1]
	has(t, d.MustDocker("push", ref+":1"), ": Layer already exists", "1: digest: "+digest)
	got, err := exec.Command("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+ref+":1").CombinedOutput()
	if err != nil || strings.TrimSpace(string(got)) != digest {
		t.Errorf("the registry has %s %v, pushed was %s", got, err, digest)
	}

	// Layers that the registry has in another repository do not travel again.
	d.MustDocker("tag", image, addr+"/other/app:1")
	has(t, d.MustDocker("push", addr+"/other/app:1"), ": Mounted from ", "team/app", "1: digest: "+digest)

	// A committed image, and all tags at once.
	d.MustDocker("run", "--name", "changed", image, "sh", "-c", "echo new >/file")
	d.MustDocker("commit", "changed", ref+":2")
	d.MustDocker("rm", "changed")
	out = d.MustDocker("push", "-a", ref)
	has(t, out, "1: digest: "+digest, "2: digest: sha256:")
	if q := d.MustDocker("push", "-q", ref+":2"); q != ref+":2\n" {
		t.Errorf("push -q prints %q", q)
	}

	committed := idOf(d, ref+":2")
	d.MustDocker("rmi", ref+":1", ref+":2", addr+"/other/app:1", image)
	d.MustDocker("pull", ref+":1")
	d.MustDocker("pull", ref+"@"+digest)
	d.MustDocker("pull", "-q", ref+":2")
	if a, b := idOf(d, ref+":1"), idOf(d, ref+":2"); a != id || b != committed {
		t.Errorf("pulled %s and %s, pushed were %s and %s", a, b, id, committed)
	}
	if out := d.MustDocker("run", "--rm", ref+":2", "cat", "/file"); out != "new\n" {
		t.Errorf("the pushed layer holds %q", out)
	}
	until := fmt.Sprintf("%.9f", float64(time.Now().UnixMicro())/1e6)
	has(t, d.MustDocker("events", "--since", "10m", "--until", until, "--filter", "event=push", "--format", "{{.Actor.ID}} {{.Actor.Attributes.name}}"), ref+":1 "+ref, ref+":2 "+ref)
}

func TestPushOfNothing(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	for _, args := range [][]string{{"push", addr + "/none:1"}, {"push", "-a", addr + "/none"}} {
		has(t, d.FailDocker(args...).Stderr, "An image does not exist locally with the tag: "+addr+"/none")
	}
	d.MustDocker("tag", image, addr+"/app:1")
	has(t, d.FailDocker("push", "--platform", "linux/s390x", addr+"/app:1").Stderr, "linux/s390x")
}

// An image of Docker's own format stays what it is, to the digest.
func TestSchema2(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/old:1", []string{"--format", "v2s2"})
	d.MustDocker("pull", addr+"/old:1")
	d.MustDocker("tag", addr+"/old:1", addr+"/new:1")
	d.MustDocker("push", addr+"/new:1")
	for _, name := range []string{"old", "new"} {
		raw, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+addr+"/"+name+":1").Output()
		if err != nil {
			t.Fatal(err)
		}
		has(t, string(raw), `application/vnd.docker.distribution.manifest.v2+json`)
	}
	has(t, d.MustDocker("image", "inspect", "--format", "{{.RepoDigests}}", addr+"/new:1"), addr+"/new@sha256:", addr+"/old@sha256:")
}

// What a registry has under a name is told without a pull, and a wrong password
// by its status.
func TestRegistryThroughTheClient(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "user", "secret")
	harness.Push(t, addr+"/app:1", []string{"--dest-creds", "user:secret"})
	api, err := client.New(client.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	login := client.RegistryLoginOptions{Username: "user", Password: "secret", ServerAddress: addr}
	if got, err := api.RegistryLogin(t.Context(), login); err != nil || got.Auth.Status != "Login Succeeded" {
		t.Errorf("login: %+v, %v", got, err)
	}
	login.Password = "wrong"
	if _, err := api.RegistryLogin(t.Context(), login); !errdefs.IsUnauthorized(err) {
		t.Errorf("login with a wrong password: %v", err)
	}
	encoded, err := authconfig.Encode(registry.AuthConfig{Username: "user", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.DistributionInspect(t.Context(), addr+"/app:1", client.DistributionInspectOptions{EncodedRegistryAuth: encoded})
	if err != nil || len(got.Platforms) != 1 || got.Platforms[0].Architecture != runtime.GOARCH || got.Descriptor.Size == 0 || got.Descriptor.MediaType == "" {
		t.Errorf("the registry has %+v, %v", got, err)
	}
	if _, err := api.DistributionInspect(t.Context(), addr+"/app:2", client.DistributionInspectOptions{EncodedRegistryAuth: encoded}); !errdefs.IsNotFound(err) {
		t.Errorf("of a tag that is not there: %v", err)
	}
}
