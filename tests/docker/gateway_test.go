package docker_test

import (
	"fmt"
	"strings"
	"testing"
)

// host-gateway is this host on the container's first network that leads there,
// else on the default network.
func TestHostGateway(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "--internal", "inside")
	d.MustDocker("network", "create", "outside")
	gateway := func(network string) string {
		return strings.TrimSpace(d.MustDocker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", network))
	}
	host := func(network string) string {
		return d.MustDocker("run", "--rm", "--network", network, "--add-host", "me:host-gateway", image, "grep", "me$", "/etc/hosts")
	}
	for network, want := range map[string]string{"bridge": gateway("bridge"), "outside": gateway("outside"), "inside": gateway("bridge"), "none": gateway("bridge"), "host": "127.0.0.1"} {
		if got := host(network); got != fmt.Sprintf("%s\tme\n", want) {
			t.Errorf("on %s: %q, want %s", network, got, want)
		}
	}
	// as clients do that know no other way to have two networks
	d.MustDocker("create", "--name", "two", "--network", "inside", "--add-host", "me:host-gateway", image, "grep", "me$", "/etc/hosts")
	d.MustDocker("network", "connect", "outside", "two")
	if got := d.MustDocker("start", "-a", "two"); got != gateway("outside")+"\tme\n" {
		t.Errorf("on two networks: %q", got)
	}
	d.MustDocker("rm", "two")
	d.MustDocker("network", "rm", "inside", "outside")
}
