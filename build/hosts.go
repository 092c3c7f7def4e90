package build

import (
	"maps"
	"net/netip"
	"strings"
)

// labelHostGateway of the worker is where buildx looks for the address that
// "host-gateway" stands for, before it builds.
// Source: buildx, driver docker.
const labelHostGateway = "org.mobyproject.buildkit.worker.moby.host-gateway-ip"

const addHosts = "add-hosts" // a frontend's option: NAME=ADDRESS,…

// gatewayHosts puts gateways in place of "host-gateway" in a frontend's
// options. Without a gateway they are returned as they are, and the frontend
// tells what is wrong.
func gatewayHosts(opts map[string]string, gateways []netip.Addr) map[string]string {
	if len(gateways) == 0 || !strings.Contains(opts[addHosts], "=host-gateway") {
		return opts
	}
	var hosts []string
	for h := range strings.SplitSeq(opts[addHosts], ",") {
		name, ok := strings.CutSuffix(h, "=host-gateway")
		if !ok {
			hosts = append(hosts, h)
			continue
		}
		for _, g := range gateways {
			hosts = append(hosts, name+"="+g.String())
		}
	}
	opts = maps.Clone(opts)
	opts[addHosts] = strings.Join(hosts, ",")
	return opts
}
