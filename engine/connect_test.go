package engine

import (
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gantry/network"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

func TestMayConnect(t *testing.T) {
	on := func(names ...string) (out []attachment) {
		for _, n := range names {
			out = append(out, attachment{Network: n})
		}
		return out
	}
	for _, c := range []struct {
		mode     container.NetworkMode
		on       []attachment
		detached bool
		to       string
		says     string
	}{
		{mode: "bridge", on: on("bridge"), to: "back"},
		{mode: "bridge", to: "back", detached: true},
		{mode: "none", to: "back", detached: true},
		{mode: "none", to: "back", says: "private (none) mode"},
		{mode: "bridge", on: on("bridge"), to: "none", says: "private (none) mode"},
		{mode: "bridge", on: on("bridge"), to: "host", says: "host network"},
		{mode: "host", to: "back", says: "sharing network namespace"},
		{mode: "container:x", to: "back", says: "sharing network namespace"},
	} {
		err := mayConnect(&record{HostConfig: container.HostConfig{NetworkMode: c.mode}, Networks: c.on, Detached: c.detached}, c.to)
		if c.says == "" && err != nil || c.says != "" && (!errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestCheckEndpoint(t *testing.T) {
	addr := func(s string) mobynet.EndpointSettings {
		return mobynet.EndpointSettings{IPAMConfig: &mobynet.EndpointIPAMConfig{IPv4Address: netip.MustParseAddr(s)}}
	}
	option := func(k, v string) mobynet.EndpointSettings {
		return mobynet.EndpointSettings{DriverOpts: map[string]string{k: v}}
	}
	back := network.Network{Network: mobynet.Network{Name: "back", IPAM: mobynet.IPAM{Config: []mobynet.IPAMConfig{{Subnet: netip.MustParsePrefix("10.1.0.0/24")}}}}}
	bridge := network.Network{Network: mobynet.Network{Name: "bridge"}}
	for _, c := range []struct {
		n    network.Network
		s    mobynet.EndpointSettings
		says string
	}{
		{back, mobynet.EndpointSettings{Aliases: []string{"x"}}, ""},
		{bridge, mobynet.EndpointSettings{Aliases: []string{"x"}}, "aliases are only supported for user-defined networks"},
		{back, addr("10.1.0.9"), ""},
		{back, addr("10.2.0.9"), "no configured subnet or ip-range contain the IP address 10.2.0.9"},
		{back, addr("fd00::1"), "other family"},
		{bridge, addr("10.1.0.9"), "user specified IP address is supported on user defined networks only"},
		{back, option(optIfName, "lan0"), ""},
		{back, option(optIfName, "lan/0"), `"lan/0" is invalid`},
		{back, option(optIfName, "lo"), `"lo" is invalid`},
		{back, option(optSysctls, "net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0"), ""},
		{back, option(optSysctls, "kernel.shmmax=1"), "not of the form"},
		{back, option(optSysctls, "net.ipv4.conf.all.forwarding=1"), "not of the form"},
		{back, option("com.docker.network.windowsshim.x", "1"), "not supported"},
		{back, option("org.example.note", "1"), ""},
	} {
		err := checkEndpoint(c.n, c.s)
		if c.says == "" && err != nil || c.says != "" && (!errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s, %+v: %v, want %q", c.n.Name, c.s, err, c.says)
		}
	}
}

func TestLinksOf(t *testing.T) {
	got := linksOf([]string{"db", "cache:c", "/one:/web/first"})
	if want := map[string]string{"db": "db", "c": "cache", "first": "one"}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	rec := record{Name: "web", HostConfig: container.HostConfig{NetworkMode: "bridge", Links: []string{"one:first"}}}
	if shown := shownLinks(&rec); len(shown) != 1 || shown[0] != "/one:/web/first" || !maps.Equal(linksOf(shown), map[string]string{"first": "one"}) {
		t.Errorf("shown as %v", shown)
	}
}

func TestFilterValues(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for v, want := range map[string]time.Time{
		"1h30m": now.Add(-90 * time.Minute), "2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), "2026-01-02T03:04": time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
		"2026-01-02T03:04:05+01:00": time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC), "1700000000": time.Unix(1700000000, 0), "1700000000.5": time.Unix(1700000000, 5e8),
		"2026-01-02T03": time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC),
	} {
		if got, err := (Filters{"until": {v}}).until(now); err != nil || !got.Equal(want) {
			t.Errorf("until %q: %v, %v, want %v", v, got, err, want)
		}
	}
	for _, f := range []Filters{{"until": {"yesterday"}}, {"until": {"1h", "2h"}}, {"until": {"1.x"}}, {"until": {""}}} {
		if got, err := f.until(now); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %v, %v", f, got, err)
		}
	}
	for v, want := range map[string]bool{"true": true, "1": true, "false": false, "0": false} {
		if got, err := (Filters{"dangling": {v}}).boolean("dangling"); err != nil || got == nil || *got != want {
			t.Errorf("dangling %q: %v, %v", v, got, err)
		}
	}
	for _, values := range [][]string{{"yes"}, {"true", "false"}, {""}} {
		if _, err := (Filters{"dangling": values}).boolean("dangling"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("dangling %q: %v", values, err)
		}
	}
	labels := map[string]string{"a": "1", "b": ""}
	for _, c := range []struct {
		f    Filters
		want bool
	}{
		{nil, true}, {Filters{"label": {"a", "b"}}, true}, {Filters{"label": {"a=2"}}, false}, {Filters{"label!": {"c"}}, true},
		{Filters{"label!": {"c", "a"}}, false}, {Filters{"label!": {"a=2"}}, true}, {Filters{"label": {"a"}, "label!": {"b"}}, false},
	} {
		if got := c.f.matchLabels(labels); got != c.want {
			t.Errorf("%v: %v", c.f, got)
		}
	}
}
