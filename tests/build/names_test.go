package build_test

import (
	"strings"
	"testing"
)

// Steps ask the servers that containers of their network ask: the default one
// has no name service of its own.
func TestStepsAskTheServersOfTheirNetwork(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	const servers = "sed -n 's/^nameserver */server /p' /etc/resolv.conf"
	for _, network := range []string{"default", "host"} {
		want := strings.Fields(d.MustDocker("run", "--rm", "--network", network, image, "sh", "-c", servers))
		if len(want) == 0 {
			t.Fatalf("a container on %s has no name server", network)
		}
		r := d.DockerInput("FROM "+image+"\nRUN "+servers+"\n", "build", "--progress", "plain", "--no-cache", "--network", network, "-t", "names", "-")
		var got []string
		for line := range strings.Lines(r.Stderr) {
			if f := strings.Fields(line); len(f) == 4 && f[2] == "server" { // #5 0.071 server ADDRESS
				got = append(got, f[2:]...)
			}
		}
		if r.Code != 0 || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("on %s a step asks %q, a container %q: %v", network, got, want, r)
		}
	}
	d.MustDocker("image", "rm", "names")
	d.MustDocker("image", "prune", "-f")
}
