package project

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/network"
)

// attachments lists a service's networks, highest priority first, then by key.
func (t *translator) attachments(s types.ServiceConfig) []Attachment {
	var out []Attachment
	for i, key := range s.NetworksByPriority() {
		c := s.Networks[key]
		a := Attachment{
			Network: key,
			Name:    t.model.Networks[key].Name,
			Source:  t.survey.position("services", s.Name, "networks", key),
		}
		if c == nil {
			c = &types.ServiceNetworkConfig{}
		}
		aliases := slices.Clone(c.Aliases)
		if c.ServiceNameAliasEnabled() {
			aliases = append([]string{s.Name}, aliases...)
		}
		for _, alias := range aliases {
			if !slices.Contains(a.Aliases, alias) {
				a.Aliases = append(a.Aliases, alias)
			}
		}
		a.Settings = t.endpoint(s, key, *c)
		if i == 0 && a.Settings.MacAddress == nil {
			a.Settings.MacAddress = t.mac(s, s.MacAddress, []string{"mac_address"})
		}
		a.Settings.Links = append(t.links(s, key), externalLinks(s)...)
		out = append(out, a)
	}
	for i, l := range s.Links {
		if name, alias, ok := splitLink(l); ok && !slices.ContainsFunc(out, func(a Attachment) bool { return slices.Contains(a.Settings.Links, name+":"+alias) }) {
			t.problem(s, []string{"links", strconv.Itoa(i)}, "link %q: service %q is on no network of this service", l, name)
		}
	}
	return out
}

// splitLink reads SERVICE[:ALIAS]; ok is whether the link gives another name.
func splitLink(l string) (name, alias string, ok bool) {
	name, alias, ok = strings.Cut(l, ":")
	return name, alias, ok && alias != "" && alias != name
}

// links are the other names by which a service finds those that it shares a
// network with.
func (t *translator) links(s types.ServiceConfig, network string) (out []string) {
	for _, l := range s.Links {
		name, alias, ok := splitLink(l)
		if _, shared := t.model.Services[name].Networks[network]; ok && shared {
			out = append(out, name+":"+alias)
		}
	}
	return out
}

// externalLinks are the other names by which a service finds containers outside
// of the project, wherever it shares a network with them.
func externalLinks(s types.ServiceConfig) (out []string) {
	for _, l := range s.ExternalLinks {
		if name, alias, ok := splitLink(l); ok && limitExternalLink(l) == "" {
			out = append(out, name+":"+alias)
		}
	}
	return out
}

// Options of an endpoint and of the bridge, by Docker's names.
const (
	optNetwork = "com.docker.network."
	optIfName  = optNetwork + "endpoint.ifname"
	optSysctls = optNetwork + "endpoint.sysctls"
)

var bridgeOptions = []string{
	optNetwork + "bridge.default_bridge", optNetwork + "bridge.enable_icc", optNetwork + "bridge.enable_ip_masquerade",
	optNetwork + "bridge.host_binding_ipv4", optNetwork + "bridge.name", optNetwork + "driver.mtu",
}

// unknownOptions are those of Docker's options that are none of known.
func unknownOptions(opts types.Options, known ...string) (out []string) {
	for _, key := range slices.Sorted(maps.Keys(opts)) {
		if strings.HasPrefix(key, optNetwork) && !slices.Contains(known, key) {
			out = append(out, key)
		}
	}
	return out
}

// endpointOptions are driver_opts and interface_name.
func (t *translator) endpointOptions(s types.ServiceConfig, path []string, c types.ServiceNetworkConfig) map[string]string {
	for _, key := range unknownOptions(c.DriverOpts, optIfName, optSysctls) {
		t.problem(s, append(path, "driver_opts", key), "option %q of an endpoint is not supported", key)
	}
	opts := maps.Clone(nonEmpty(c.DriverOpts))
	if c.InterfaceName == "" {
		return opts
	}
	if other := opts[optIfName]; other != "" && other != c.InterfaceName {
		t.problem(s, append(path, "interface_name"), "interface_name %q and the option %s differ; keep one", c.InterfaceName, optIfName)
	}
	if opts == nil {
		opts = map[string]string{}
	}
	opts[optIfName] = c.InterfaceName
	return opts
}

func (t *translator) endpoint(s types.ServiceConfig, key string, c types.ServiceNetworkConfig) network.EndpointSettings {
	path := []string{"networks", key}
	settings := network.EndpointSettings{
		GwPriority: c.GatewayPriority,
		DriverOpts: t.endpointOptions(s, path, c),
		MacAddress: t.mac(s, c.MacAddress, append(path, "mac_address")),
	}
	v4 := t.address(s, c.Ipv4Address, append(path, "ipv4_address"))
	v6 := t.address(s, c.Ipv6Address, append(path, "ipv6_address"))
	if v4.IsValid() && !v4.Is4() {
		t.problem(s, append(path, "ipv4_address"), "ipv4_address %q is not an IPv4 address", c.Ipv4Address)
	}
	if v6.IsValid() && !v6.Is6() {
		t.problem(s, append(path, "ipv6_address"), "ipv6_address %q is not an IPv6 address", c.Ipv6Address)
	}
	var more []netip.Addr
	for _, a := range c.LinkLocalIPs {
		if addr := t.address(s, a, append(path, "link_local_ips")); addr.IsValid() {
			more = append(more, addr)
		}
	}
	if v4.IsValid() || v6.IsValid() || len(more) > 0 {
		settings.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: v4, IPv6Address: v6, LinkLocalIPs: more}
	}
	return settings
}

func (t *translator) address(s types.ServiceConfig, value string, path []string) netip.Addr {
	if value == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		t.problem(s, path, "%q is not an IP address", value)
	}
	return addr
}

func (t *translator) mac(s types.ServiceConfig, value string, path []string) network.HardwareAddr {
	if value == "" {
		return nil
	}
	addr, err := net.ParseMAC(value)
	if err != nil || len(addr) != 6 {
		t.problem(s, path, "%q is not a MAC address such as 02:42:ac:11:00:02", value)
		return nil
	}
	return network.HardwareAddr(addr)
}

func (t *translator) network(key string, n types.NetworkConfig) Network {
	out := Network{Key: key, Name: n.Name, External: bool(n.External), Source: t.survey.at["networks."+key]}
	if out.External {
		return out
	}
	for _, option := range unknownOptions(n.DriverOpts, bridgeOptions...) {
		t.problems = append(t.problems, Problem{
			Position: t.survey.position("networks", key, "driver_opts", option), Text: fmt.Sprintf("network %q: option %q is not supported", key, option)})
	}
	create := network.CreateRequest{
		Name: n.Name, Driver: first(n.Driver, "bridge"),
		EnableIPv4: n.EnableIPv4, EnableIPv6: n.EnableIPv6,
		Internal: n.Internal, Attachable: n.Attachable,
		Options: nonEmpty(n.DriverOpts),
		Labels:  t.objectLabels(n.Labels, LabelNetwork, key),
	}
	for i, pool := range n.Ipam.Config {
		if create.IPAM == nil {
			create.IPAM = &network.IPAM{Driver: first(n.Ipam.Driver, "default")}
		}
		create.IPAM.Config = append(create.IPAM.Config, t.pool(key, i, pool))
	}
	out.Create = create
	out.Hash = networkHash(n)
	out.Create.Labels[LabelHash] = out.Hash
	return out
}

// pool checks that a subnet is one and that the rest lies within it.
func (t *translator) pool(key string, index int, p *types.IPAMPool) network.IPAMConfig {
	var out network.IPAMConfig
	prefix := func(field, value string) (parsed netip.Prefix) {
		if value == "" {
			return parsed
		}
		parsed, err := netip.ParsePrefix(value)
		if err != nil {
			t.objectProblem("networks", key, index, field, "network %q: %s %q is not a subnet such as 10.5.0.0/24", key, field, value)
			return netip.Prefix{}
		}
		return parsed.Masked()
	}
	addr := func(field, value string) (parsed netip.Addr) {
		if value == "" {
			return parsed
		}
		parsed, err := netip.ParseAddr(value)
		switch {
		case err != nil:
			t.objectProblem("networks", key, index, field, "network %q: %s %q is not an IP address", key, field, value)
		case out.Subnet.IsValid() && !out.Subnet.Contains(parsed):
			t.objectProblem("networks", key, index, field, "network %q: %s %s is outside of subnet %s", key, field, parsed, out.Subnet)
		}
		return parsed
	}
	out.Subnet = prefix("subnet", p.Subnet)
	out.IPRange = prefix("ip_range", p.IPRange)
	if out.IPRange.IsValid() && out.Subnet.IsValid() &&
		(!out.Subnet.Contains(out.IPRange.Addr()) || out.IPRange.Bits() < out.Subnet.Bits()) {
		t.objectProblem("networks", key, index, "ip_range", "network %q: ip_range %s is outside of subnet %s", key, out.IPRange, out.Subnet)
	}
	out.Gateway = addr("gateway", p.Gateway)
	for name, value := range p.AuxiliaryAddresses {
		if out.AuxAddress == nil {
			out.AuxAddress = map[string]netip.Addr{}
		}
		out.AuxAddress[name] = addr("aux_addresses", value)
	}
	return out
}

const localDriver = "local" // of volumes, unless there is another

func (t *translator) volume(key string, v types.VolumeConfig) Volume {
	out := Volume{Key: key, Name: v.Name, External: bool(v.External), Source: t.survey.at["volumes."+key]}
	if out.External {
		return out
	}
	out.Driver = first(v.Driver, localDriver)
	out.DriverOpts = nonEmpty(v.DriverOpts)
	out.Labels = t.objectLabels(v.Labels, LabelVolume, key)
	out.Hash = volumeHash(v)
	out.Labels[LabelHash] = out.Hash
	return out
}

// objectLabels are the user's and Docker Compose's.
func (t *translator) objectLabels(user types.Labels, keyLabel, key string) map[string]string {
	labels := map[string]string{}
	for k, v := range user {
		labels[k] = v
	}
	labels[LabelProject] = t.model.Name
	labels[keyLabel] = key
	return labels
}

// objectProblem notes what is wrong with an IPAM pool of a network.
func (t *translator) objectProblem(section, key string, index int, field, format string, args ...any) {
	t.problems = append(t.problems, Problem{
		Position: t.survey.position(section, key, "ipam", "config", strconv.Itoa(index), field),
		Text:     fmt.Sprintf(format, args...),
	})
}
