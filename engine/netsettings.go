package engine

import (
	"gantry/network"

	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

// networkSettings tells about a container's networks, in Docker's shape: what
// was asked for always, what it was given while it runs.
func (e *Engine) networkSettings(c *ctr, rec *record, st *state) *container.NetworkSettings {
	s := &container.NetworkSettings{Ports: mobynet.PortMap{}, Networks: map[string]*mobynet.EndpointSettings{}}
	running := st.alive()
	if running && !rec.HostConfig.NetworkMode.IsContainer() {
		s.SandboxID, s.SandboxKey = hashID("sandbox", rec.ID), e.net.Path(c.id)
		for p := range rec.Config.ExposedPorts {
			s.Ports[p] = nil
		}
		for p := range rec.HostConfig.PortBindings {
			s.Ports[p] = nil
		}
		for p, b := range st.Ports {
			s.Ports[p] = b
		}
	}
	for _, a := range rec.Networks {
		ep := a.Settings.Copy()
		if got := st.Endpoints[a.Network]; got != nil {
			ep = got.Copy()
			if !running { // addresses belong to running containers, as people know it
				ep = &mobynet.EndpointSettings{
					IPAMConfig: ep.IPAMConfig, Links: ep.Links, Aliases: ep.Aliases, DriverOpts: ep.DriverOpts, GwPriority: ep.GwPriority,
					MacAddress: a.Settings.MacAddress, NetworkID: ep.NetworkID, DNSNames: ep.DNSNames,
				}
			}
		}
		if ep.NetworkID == "" {
			if n, err := e.net.Get(a.Network); err == nil {
				ep.NetworkID = n.ID
			}
		}
		s.Networks[a.Network] = ep
	}
	for _, name := range networkNames(rec) {
		if s.Networks[name] != nil || name != network.HostName && name != network.NoneName {
			continue
		}
		ep := &mobynet.EndpointSettings{}
		if n, err := e.net.Get(name); err == nil {
			if ep.NetworkID = n.ID; running {
				ep.EndpointID = hashID(rec.ID, n.ID)
			}
		}
		s.Networks[name] = ep
	}
	return s
}

// shownLinks are the links on the default network as inspect has them.
func shownLinks(rec *record) []string {
	var out []string
	if !rec.HostConfig.NetworkMode.IsBridge() { // elsewhere they are those of the endpoints
		return nil
	}
	for _, l := range rec.HostConfig.Links {
		for alias, name := range linksOf([]string{l}) {
			out = append(out, "/"+name+":/"+rec.Name+"/"+alias)
		}
	}
	return out
}
