package registry_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
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
