package docker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
)

// site serves a word on port 80, over HTTP.
func site(word string) []string {
	return []string{image, "sh", "-c", "mkdir -p /www; echo " + word + " > /www/index.html; exec httpd -f -h /www"}
}

// published is what a published port of the host answers.
func published(d *harness.Daemon, address, want string) {
	d.T.Helper()
	harness.Eventually(d.T, "port "+address+" answers", func() error {
		c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		r, err := c.Get("http://" + address + "/")
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if b, err := io.ReadAll(r.Body); err != nil || strings.TrimSpace(string(b)) != want {
			return fmt.Errorf("got %q, %v, want %q", b, err, want)
		}
		return nil
	})
}

// resolves tells what a name is in a container, "" for nothing.
func resolves(d *harness.Daemon, container, name string) string {
	d.T.Helper()
	out := d.Docker("exec", container, "nslookup", name, "127.0.0.11").Stdout
	_, answer, _ := strings.Cut(out, "Name:")
	_, addr, _ := strings.Cut(answer, "Address: ")
	addr, _, _ = strings.Cut(addr, "\n")
	return strings.TrimSpace(addr)
}

func fullID(d *harness.Daemon, container string) string { return inspect(d, container, "{{.Id}}") }

func shortID(d *harness.Daemon, container string) string { return fullID(d, container)[:12] }

// idle runs a container that does nothing on a network.
func idle(d *harness.Daemon, name, network string) string {
	d.T.Helper()
	d.MustDocker("run", "-d", "--name", name, "--network", network, image, "sleep", "1000")
	return name
}

func says(t *testing.T, r harness.Result, text string) {
	t.Helper()
	if !strings.Contains(r.Stderr, text) {
		t.Errorf("%v\ndoes not say %q", r, text)
	}
}

func addressOn(d *harness.Daemon, container, network string) string {
	return inspect(d, container, fmt.Sprintf(`{{with index .NetworkSettings.Networks %q}}{{.IPAddress}}{{end}}`, network))
}

func TestRunningContainerJoinsAndLeavesNetworks(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "--subnet", "10.199.7.0/24", "back")
	d.MustDocker("network", "create", "--internal", "front")
	d.MustDocker(append([]string{"run", "-d", "--name", "web", "-p", "127.0.0.1::80"}, site("hello")...)...)
	d.MustDocker("run", "-d", "--name", "db", "--network", "back", image, "sleep", "1000")
	port := strings.TrimSpace(d.MustDocker("port", "web", "80/tcp"))
	published(d, port, "hello")
	d.MustDocker("exec", "web", "sh", "-c", "echo 1.2.3.4 mine >> /etc/hosts")

	d.MustDocker("network", "connect", "--alias", "shop", "--ip", "10.199.7.77", "--gw-priority", "5",
		"--driver-opt", "com.docker.network.endpoint.ifname=back0", "back", "web")
	if got := d.MustDocker("exec", "web", "ip", "-4", "-o", "addr", "show", "back0"); !strings.Contains(got, "10.199.7.77/24") {
		t.Errorf("interface: %s", got)
	}
	for _, name := range []string{"web", "shop", shortID(d, "web")} {
		if got := resolves(d, "db", name); got != "10.199.7.77" {
			t.Errorf("%s is %q", name, got)
		}
	}
	if got := resolves(d, "web", "db"); got != addressOn(d, "db", "back") {
		t.Errorf("db is %q", got)
	}
	if got := d.MustDocker("exec", "web", "ip", "route"); !strings.Contains(got, "default via 10.199.7.1 dev back0") {
		t.Errorf("routes: %s", got)
	}
	if got := d.MustDocker("exec", "web", "cat", "/etc/hosts"); !strings.Contains(got, "10.199.7.77\t"+shortID(d, "web")) || !strings.Contains(got, "1.2.3.4 mine") {
		t.Errorf("hosts: %s", got)
	}
	published(d, port, "hello")
	says(t, d.FailDocker("network", "connect", "back", "web"), "endpoint with name web already exists in network back")
	says(t, d.FailDocker("network", "connect", "--ip", "10.199.7.77", "back", idle(d, "idle", "front")), "Address already in use")
	says(t, d.FailDocker("network", "connect", "--ip", "10.1.1.1", "back", "idle"), "no configured subnet or ip-range contain the IP address 10.1.1.1")
	says(t, d.FailDocker("network", "connect", "nowhere", "web"), "network nowhere not found")
	says(t, d.FailDocker("network", "connect", "back", "nobody"), "No such container: nobody")
	says(t, d.FailDocker("network", "connect", "host", "web"), "host network")
	if got := inspect(d, "idle", "{{len .NetworkSettings.Networks}}"); got != "1" {
		t.Errorf("after refused connects: %s networks", got)
	}

	d.MustDocker("network", "disconnect", "bridge", "web")
	published(d, port, "hello") // by its other network now
	if got := d.MustDocker("exec", "web", "ip", "-o", "link"); strings.Contains(got, "eth0") || !strings.Contains(got, "back0") {
		t.Errorf("links: %s", got)
	}
	says(t, d.FailDocker("network", "disconnect", "bridge", "web"), "is not connected to network bridge")

	for _, again := range []func(){
		func() { d.MustDocker("restart", "-t", "0", "web") },
		func() { d.Kill9(); d.Launch() },
	} {
		again()
		if got := addressOn(d, "web", "back"); got != "10.199.7.77" {
			t.Errorf("address %q", got)
		}
		if got := inspect(d, "web", "{{len .NetworkSettings.Networks}} {{(index .NetworkSettings.Networks \"back\").GwPriority}}"); got != "1 5" {
			t.Errorf("networks %s", got)
		}
		if got := d.MustDocker("exec", "web", "ip", "-4", "-o", "addr"); !strings.Contains(got, "back0") {
			t.Errorf("interfaces: %s", got)
		}
		if got := resolves(d, "db", "shop"); got != "10.199.7.77" {
			t.Errorf("shop is %q", got)
		}
		published(d, strings.TrimSpace(d.MustDocker("port", "web", "80/tcp")), "hello")
	}

	// the last one
	d.MustDocker("network", "disconnect", "back", "web")
	if got := d.MustDocker("exec", "web", "ip", "-o", "link"); strings.Count(got, "\n") != 1 {
		t.Errorf("links: %s", got)
	}
	if got := resolves(d, "db", "web"); got != "" {
		t.Errorf("web is %q", got)
	}
	d.Kill9()
	d.Launch()
	if got := inspect(d, "web", "{{len .NetworkSettings.Networks}} {{.State.Running}}"); got != "0 true" {
		t.Errorf("networks: %s", got)
	}
	d.MustDocker("network", "connect", "front", "web") // no way out: nothing is published
	d.MustDocker("restart", "-t", "0", "web")
	if got := d.MustDocker("port", "web"); got != "" {
		t.Errorf("published: %s", got)
	}
	d.MustDocker("network", "connect", "back", "web")
	published(d, strings.TrimSpace(d.MustDocker("port", "web", "80/tcp")), "hello")

	// one that does not run
	d.MustDocker("stop", "-t", "0", "web")
	d.MustDocker("network", "connect", "bridge", "idle")
	d.MustDocker("network", "disconnect", "front", "web")
	d.MustDocker("network", "disconnect", "back", "web")
	d.MustDocker("network", "disconnect", "front", "idle")
	d.MustDocker("network", "rm", "front")
	d.MustDocker("start", "web")
	if got := inspect(d, "web", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}{{end}}"); got != "bridge" {
		t.Errorf("after its last network was taken away it starts on %s", got)
	}
}

func TestNetworksByHand(t *testing.T) {
	t.Parallel()
	d := start(t)
	list := func(args ...string) string {
		return strings.Join(strings.Fields(d.MustDocker(append([]string{"network", "ls", "--format", "{{.Name}}"}, args...)...)), " ")
	}
	d.MustDocker("network", "create", "--subnet", "10.199.8.0/24", "--ip-range", "10.199.8.128/25", "--gateway", "10.199.8.254", "--aux-address", "router=10.199.8.129",
		"--ipv6", "--subnet", "fd00:8::/64", "--label", "tier=back", "--label", "keep", "--attachable",
		"-o", "com.docker.network.bridge.name=gtb"+d.Instance(), "-o", "com.docker.network.driver.mtu=1400", "back")
	d.MustDocker("network", "create", "--ipv4=false", "--ipv6", "six")
	d.MustDocker("network", "create", "--internal", "--label", "tier=front", "front")
	d.MustDocker("run", "-d", "--name", "one", "--network", "back", image, "sleep", "1000")
	if got := addressOn(d, "one", "back"); got != "10.199.8.128" {
		t.Errorf("first address of the range: %s", got)
	}
	d.MustDocker("run", "-d", "--name", "two", "--network", "back", "--ip6", "fd00:8::99", image, "sleep", "1000")
	if got := addressOn(d, "two", "back"); got != "10.199.8.130" { // 129 is the router's
		t.Errorf("second address of the range: %s", got)
	}
	if got := d.MustDocker("exec", "two", "ip", "link", "show", "eth0"); !strings.Contains(got, "mtu 1400") {
		t.Errorf("MTU: %s", got)
	}
	if got := d.MustDocker("run", "--rm", "--network", "six", image, "ip", "-o", "addr", "show", "eth0"); strings.Contains(got, "inet ") || !strings.Contains(got, "inet6 f") {
		t.Errorf("addresses without IPv4: %s", got)
	}
	var nets []struct {
		Name, Driver, Scope string
		Attachable          bool
		Labels, Options     map[string]string
		Containers          map[string]struct{ Name, IPv4Address, IPv6Address, MacAddress, EndpointID string }
	}
	if err := json.Unmarshal([]byte(d.MustDocker("network", "inspect", "back")), &nets); err != nil {
		t.Fatal(err)
	}
	n, two := nets[0], nets[0].Containers[fullID(d, "two")]
	if n.Driver != "bridge" || n.Scope != "local" || !n.Attachable || n.Labels["tier"] != "back" || len(n.Containers) != 2 ||
		two.Name != "two" || two.IPv4Address != "10.199.8.130/24" || two.IPv6Address != "fd00:8::99/64" || two.MacAddress == "" || two.EndpointID == "" {
		t.Errorf("inspect: %+v", n)
	}
	if got := strings.TrimSpace(d.MustDocker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "bridge")); !strings.HasPrefix(got, "10.") {
		t.Errorf("the default network's gateway: %q", got)
	}

	for _, c := range []struct {
		want string
		args []string
	}{
		{"back bridge front host none six", nil},
		{"back front six", []string{"--filter", "type=custom"}},
		{"bridge host none", []string{"--filter", "type=builtin"}},
		{"back", []string{"--filter", "label=tier=back"}},
		{"back front", []string{"--filter", "label=tier"}},
		{"bridge host none six", []string{"--filter", "label!=tier"}},
		{"host", []string{"--filter", "driver=host"}},
		{"front six", []string{"--filter", "dangling=true"}},
		{"front", []string{"--filter", "name=fron"}},
		{"", []string{"--filter", "scope=swarm"}},
		{"back", []string{"--filter", "id=" + strings.TrimSpace(d.MustDocker("network", "inspect", "-f", "{{.ID}}", "back"))[:10]}},
	} {
		if got := list(c.args...); got != c.want {
			t.Errorf("ls %v: %q, want %q", c.args, got, c.want)
		}
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"invalid filter 'colour'", []string{"ls", "--filter", "colour=red"}},
		{"network with name back already exists", []string{"create", "back"}},
		{"operation is not permitted on predefined bridge network", []string{"create", "bridge"}},
		{"Pool overlaps with other one on this address space", []string{"create", "--subnet", "10.199.8.0/25", "other"}},
		{`driver "macvlan" is not supported`, []string{"create", "-d", "macvlan", "other"}},
		{`plugin "weave" not found`, []string{"create", "-d", "weave", "other"}},
		{"configuration networks are not supported", []string{"create", "--config-only", "other"}},
		{`scope "swarm" is not supported`, []string{"create", "--scope", "swarm", "other"}},
		{"one subnet of each family", []string{"create", "--subnet", "10.199.9.0/24", "--subnet", "10.199.10.0/24", "other"}},
		{"both IPv4 and IPv6 are turned off", []string{"create", "--ipv4=false", "other"}},
		{`com.docker.network.bridge.inhibit_ipv4`, []string{"create", "-o", "com.docker.network.bridge.inhibit_ipv4=true", "other"}},
		{"network nowhere not found", []string{"rm", "nowhere"}},
		{"bridge is a pre-defined network and cannot be removed", []string{"rm", "bridge"}},
		{`network back has active endpoints (name:"`, []string{"rm", "back"}},
	} {
		says(t, d.FailDocker(append([]string{"network"}, c.args...)...), c.want)
	}

	since := time.Now().UTC().Format(time.RFC3339Nano)
	d.MustDocker("stop", "-t", "0", "one", "two")
	d.MustDocker("network", "prune", "-f", "--filter", "until=1h")
	if got := list("--filter", "type=custom"); got != "back front six" {
		t.Errorf("networks of the last hour: %s", got)
	}
	if got := d.MustDocker("network", "prune", "-f", "--filter", "label!=tier=front"); got != "Deleted Networks:\nsix\n\n" {
		t.Errorf("prune: %q", got)
	}
	d.MustDocker("network", "prune", "-f")
	if got := list("--filter", "type=custom"); got != "back" { // its containers want it back
		t.Errorf("after prune: %s", got)
	}
	d.MustDocker("network", "rm", "back")
	says(t, d.FailDocker("start", "one"), "network back not found")
	d.MustDocker("rm", "one", "two")
	d.MustDocker("network", "create", "again")
	d.MustDocker("network", "rm", "again")
	events := d.MustDocker("events", "--since", since, "--until", time.Now().UTC().Format(time.RFC3339Nano), "--filter", "type=network", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
	want := "disconnect back|disconnect back|prune <no value>|destroy six|prune <no value>|destroy front|prune <no value>|destroy back|create again|destroy again"
	got := strings.Split(strings.TrimSpace(events), "\n")
	slices.Sort(got)
	wanted := strings.Split(want, "|")
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		t.Errorf("events:\n%s", events)
	}
}

func TestContainersAreOnTheNetworksAskedFor(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "front")
	d.MustDocker("network", "create", "back")
	d.MustDocker("run", "-d", "--name", "db", "--hostname", "dbhost", image, "sleep", "1000")
	web := append([]string{"run", "-d", "--name", "web", "--network", "name=front,alias=shop", "--network", "name=back,gw-priority=1", "--mac-address", "02:11:22:33:44:55",
		"-p", "127.0.0.1:0:80", "-p", "[::1]::81", "-p", "127.0.0.1::5000-5001/udp", "--expose", "99"}, site("hi")...)
	d.MustDocker(web...)

	links := d.MustDocker("run", "--rm", "--link", "db:d", image, "sh", "-c", "cat /etc/hosts; ping -c1 -W5 d >/dev/null && echo reached")
	if !strings.Contains(links, addressOn(d, "db", "bridge")+"\td dbhost db") || !strings.Contains(links, "reached") {
		t.Errorf("a link on the default network: %s", links)
	}
	linked := d.MustDocker("run", "--rm", "--network", "back", "--link", "web:w", image, "nslookup", "w", "127.0.0.11")
	if !strings.Contains(linked, addressOn(d, "web", "back")) {
		t.Errorf("a link: %s", linked)
	}
	if got := resolves(d, "web", "w"); got != "" {
		t.Errorf("others know the link: %s", got)
	}
	says(t, d.FailDocker("run", "--rm", "--link", "nobody:d", image, "true"), "could not get container for nobody")
	if got := inspect(d, "web", `{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{$v.MacAddress}} {{$v.DNSNames}} {{$v.GwPriority}};{{end}}`); !strings.Contains(got, "front 02:11:22:33:44:55 [web shop "+shortID(d, "web")+"] 0") {
		t.Errorf("networks: %s", got)
	}
	gateway := strings.TrimSpace(d.MustDocker("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "back"))
	if got := d.MustDocker("exec", "web", "ip", "route"); !strings.Contains(got, "default via "+gateway) {
		t.Errorf("routes: %s", got)
	}
	var ports map[string][]struct{ HostIP, HostPort string }
	if err := json.Unmarshal([]byte(inspect(d, "web", "{{json .NetworkSettings.Ports}}")), &ports); err != nil {
		t.Fatal(err)
	}
	if len(ports) != 5 || ports["99/tcp"] != nil || len(ports["81/tcp"]) != 1 || len(ports["5001/udp"]) != 1 {
		t.Errorf("ports: %v", ports)
	}
	published(d, "127.0.0.1:"+ports["80/tcp"][0].HostPort, "hi")

	shared := d.MustDocker("run", "--rm", "--network", "container:web", image, "sh", "-c", "hostname; ip -o link; wget -qO- http://127.0.0.1/")
	if !strings.HasPrefix(shared, shortID(d, "web")+"\n") || !strings.Contains(shared, "eth1") || !strings.HasSuffix(shared, "hi\n") {
		t.Errorf("in another container's network: %s", shared)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if got := d.MustDocker("run", "--rm", "--network", "host", image, "hostname"); got != host+"\n" {
		t.Errorf("in the host's network: %s", got)
	}
	if got := d.MustDocker("run", "--name", "alone", "--network", "none", image, "ip", "-o", "link"); strings.Count(got, "\n") != 1 {
		t.Errorf("without a network: %s", got)
	}
	says(t, d.FailDocker("network", "connect", "front", "alone"), "private (none) mode")
	d.MustDocker("network", "disconnect", "none", "alone")
	d.MustDocker("network", "connect", "front", "alone")
	if got := d.MustDocker("run", "--rm", "--network", "front", "--link-local-ip", "169.254.9.9", image, "ip", "-4", "-o", "addr"); !strings.Contains(got, "169.254.9.9/16") {
		t.Errorf("with a link-local address: %s", got)
	}
	d.MustDocker("network", "connect", "--link-local-ip", "169.254.9.8", "bridge", "web")
	if got := d.MustDocker("exec", "web", "ip", "-4", "-o", "addr"); !strings.Contains(got, "169.254.9.8/16") {
		t.Errorf("with a link-local address later: %s", got)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"publishing sctp is not supported", []string{"-p", "80/sctp"}},
		{"user specified IP address is supported on user defined networks only", []string{"--ip", "10.1.2.3"}},
		{"no configured subnet", []string{"--network", "front", "--ip", "192.0.2.1"}},
		{"network nowhere not found", []string{"--network", "nowhere"}},
		{"conflicting options: host type networking can't be used with links", []string{"--network", "host", "--link", "db:d"}},
		{"conflicting options: port publishing and the container type network mode", []string{"--network", "container:web", "-p", "80"}},
		{"port is already allocated", []string{"-p", "127.0.0.1:" + ports["80/tcp"][0].HostPort + ":80"}},
		{"Address already in use", []string{"--network", "back", "--ip", addressOn(d, "web", "back")}},
	} {
		r := d.FailDocker(append(append([]string{"run", "--rm"}, c.args...), image, "true")...)
		says(t, r, c.want)
		if strings.Contains(r.Stderr, "Unable to find image") {
			t.Errorf("taken for a missing image: %v", r)
		}
	}
}

// What was connected by hand stays so, and what a container that does not run
// had is nobody else's.
func TestConnectionsOutliveDaemonAndHost(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, n := range []string{"a", "b"} {
		d.MustDocker("network", "create", n)
	}
	d.MustDocker("run", "-d", "--name", "ends", "--network", "a", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "lives", "--network", "a", "--restart", "always", image, "sleep", "1000")
	d.MustDocker("network", "connect", "--alias", "other", "b", "lives")
	had := addressOn(d, "ends", "a")
	d.MustDocker("stop", "-t", "0", "ends")
	d.Kill9()
	d.Launch()
	if got := addressOn(d, idle(d, "new", "a"), "a"); got == had {
		t.Errorf("%s belongs to a container that does not run", got)
	}
	d.MustDocker("start", "ends")
	if got := addressOn(d, "ends", "a"); got != had {
		t.Errorf("it comes back as %s, was %s", got, had)
	}
	d.Reboot()
	d.Launch()
	harness.Eventually(t, "the container runs again", func() error {
		if got := inspect(d, "lives", "{{.State.Status}} {{len .NetworkSettings.Networks}}"); got != "running 2" {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
	d.MustDocker("start", "new")
	d.MustDocker("network", "connect", "b", "new")
	if got := resolves(d, "new", "other"); got == "" || got != addressOn(d, "lives", "b") {
		t.Errorf("other is %q", got)
	}
}

// Whenever the daemon is killed, the next one makes a container's interfaces
// what its record says, and nothing is left at the end.
func TestConnectKilledAnywhereIsRepaired(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, n := range []string{"a", "b"} {
		d.MustDocker("network", "create", n)
	}
	d.MustDocker("run", "-d", "--name", "busy", "--network", "a", image, "sleep", "1000")
	d.MustDocker("run", "-d", "--name", "peer", "--network", "b", image, "sleep", "1000")
	for round := range 6 {
		verb := []string{"connect", "disconnect"}[round%2]
		cmd := d.DockerCommand(d.Dir, "network", verb, "b", "busy")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.NewTimer(time.Duration(rand.Int64N(int64(60 * time.Millisecond)))).C // where it hits is meant to vary
		d.Kill9()
		cmd.Wait()
		d.Launch()
		nets := inspect(d, "busy", "{{range $k, $v := .NetworkSettings.Networks}}{{$k}}={{$v.IPAddress}} {{end}}")
		addrs := d.MustDocker("exec", "busy", "sh", "-c", "ip -4 -o addr; echo; cat /etc/hosts")
		links, hosts, _ := strings.Cut(addrs, "\n\n")
		if strings.Count(links, "\n")+1 != 1+len(strings.Fields(nets)) {
			t.Fatalf("round %d, %s: on %s, with\n%s", round, verb, nets, links)
		}
		for _, n := range strings.Fields(nets) {
			_, addr, _ := strings.Cut(n, "=")
			if !strings.Contains(links, " "+addr+"/") || strings.Count(hosts, addr+"\t") != 1 {
				t.Errorf("round %d, %s: on %s, with\n%s", round, verb, nets, addrs)
			}
		}
		if _, addr, on := strings.Cut(nets, "b="); on != (resolves(d, "peer", "busy") != "") || on && resolves(d, "peer", "busy") != strings.TrimSpace(addr) {
			t.Errorf("round %d, %s: on %s, but peer finds %q", round, verb, nets, resolves(d, "peer", "busy"))
		}
		d.Docker("network", verb, "b", "busy") // it may have been done
		if on := addressOn(d, "busy", "b") != ""; on != (verb == "connect") {
			t.Fatalf("round %d: %s again did not do it", round, verb)
		}
	}
	d.MustDocker("rm", "-f", "busy", "peer")
	d.MustDocker("network", "rm", "a", "b")
	d.NoLeaks()
}

func TestStoppedContainerLeavesNetworkThatIsGone(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("network", "create", "front")
	d.MustDocker("create", "--name", "app", "--network", "front", image, "true")
	d.MustDocker("network", "connect", "bridge", "app")
	d.MustDocker("network", "rm", "front")
	if r := d.FailDocker("start", "app"); !strings.Contains(r.Stderr, "network front not found") {
		t.Fatal(r)
	}
	d.MustDocker("network", "disconnect", "front", "app")
	d.MustDocker("start", "-a", "app")
	if r := d.FailDocker("network", "disconnect", "front", "app"); !strings.Contains(r.Stderr, "network front not found") {
		t.Fatal(r)
	}
}
