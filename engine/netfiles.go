package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"gantry/network"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/moby/moby/api/types/container"
	mobynet "github.com/moby/moby/api/types/network"
)

// writeFiles writes /etc/hosts, /etc/resolv.conf and /etc/hostname anew; more
// are further lines of the first.
func (e *Engine) writeFiles(c *ctr, rec *record, eps map[string]*mobynet.EndpointSettings, embedded bool, more []string) error {
	h := &rec.HostConfig
	var gateways []netip.Addr
	if h.NetworkMode.IsHost() {
		gateways = append(gateways, netip.AddrFrom4([4]byte{127, 0, 0, 1})) // the host is here
	}
	for _, a := range rec.Networks {
		if ep := eps[a.Network]; ep != nil && len(gateways) == 0 && ep.Gateway.IsValid() {
			gateways = append(gateways, ep.Gateway)
		}
	}
	toHost := func(extra string) bool { return strings.HasSuffix(extra, "host-gateway") }
	if len(gateways) == 0 && slices.ContainsFunc(h.ExtraHosts, toHost) { // on internal networks, or not on another yet
		var err error
		if gateways, err = e.hostGateways(e.ctx); err != nil {
			return err
		}
	}
	hosts, err := network.HostsFile(rec.Config.Hostname, rec.Config.Domainname, addressesOf(rec, eps), h.ExtraHosts, gateways)
	if err != nil {
		return err
	}
	resolv, err := e.net.ResolvConf(resolvMode(h, embedded), e.dns(h))
	if err != nil {
		return err
	}
	return errJoin(
		writeInPlace(filepath.Join(c.dir, "hosts"), append(hosts, strings.Join(more, "")...)),
		writeInPlace(filepath.Join(c.dir, "resolv.conf"), resolv),
		writeInPlace(filepath.Join(c.dir, "hostname"), []byte(rec.Config.Hostname+"\n")),
	)
}

// editFiles tells a running container of its other addresses. What its
// processes wrote into the files stays; resolv.conf is left alone when it is
// not as it was made.
func (e *Engine) editFiles(c *ctr, rec *record, had, has map[string]*mobynet.EndpointSettings, embedded bool) error {
	hosts := filepath.Join(c.dir, "hosts")
	old, err := readOwnFile(hosts)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.writeFiles(c, rec, has, embedded, nil)
	case errdefs.IsResourceExhausted(err): // what they made of it is theirs until the next start
		log.G(e.ctx).WithError(err).Warnf("container %q is not told of its other addresses", rec.Name)
		return nil
	case err != nil:
		return err
	}
	before := &record{Config: rec.Config}
	for name := range had {
		before.Networks = append(before.Networks, attachment{Network: name})
	}
	names := network.OwnNames(rec.Config.Hostname, rec.Config.Domainname)
	lines := func(addrs []netip.Addr) (out []string) {
		for _, a := range addrs {
			out = append(out, network.HostsLine(a, names...))
		}
		return out
	}
	edited := network.EditHosts(old, lines(addressesOf(before, had)), lines(addressesOf(rec, has)))
	resolvPath := filepath.Join(c.dir, "resolv.conf")
	resolv, err := readOwnFile(resolvPath)
	if errdefs.IsResourceExhausted(err) {
		return writeInPlace(hosts, edited)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	other, err := e.net.ResolvConf(resolvMode(&rec.HostConfig, !embedded), e.dns(&rec.HostConfig))
	if err != nil {
		return err
	}
	if len(resolv) == 0 || bytes.Equal(resolv, other) {
		if resolv, err = e.net.ResolvConf(resolvMode(&rec.HostConfig, embedded), e.dns(&rec.HostConfig)); err != nil {
			return err
		}
	}
	return errJoin(writeInPlace(hosts, edited), writeInPlace(resolvPath, resolv))
}

func resolvMode(h *container.HostConfig, embedded bool) network.ResolvMode {
	switch {
	case h.NetworkMode.IsHost():
		return network.ResolvHost
	case embedded:
		return network.ResolvEmbedded
	}
	return network.ResolvCopy
}

// addressesOf are a container's own, in the order of its networks.
func addressesOf(rec *record, eps map[string]*mobynet.EndpointSettings) (addrs []netip.Addr) {
	for _, a := range rec.Networks {
		ep := eps[a.Network]
		if ep == nil {
			continue
		}
		for _, addr := range []netip.Addr{ep.IPAddress, ep.GlobalIPv6Address} {
			if addr.IsValid() {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

// linksOf reads "NAME", "NAME:ALIAS" and "/NAME:/OWN/ALIAS", as inspect shows
// them, into alias and name.
func linksOf(links []string) map[string]string {
	out := make(map[string]string, len(links))
	for _, l := range links {
		name, alias, ok := strings.Cut(l, ":")
		if name = strings.TrimPrefix(name, "/"); !ok {
			alias = name
		}
		out[path.Base(alias)] = name
	}
	return out
}

// legacyLinks are the lines of /etc/hosts that links on the default network
// make, where there is no name service. The linked containers must run.
func (e *Engine) legacyLinks(rec *record) (lines []string, err error) {
	if len(rec.HostConfig.Links) == 0 || !rec.HostConfig.NetworkMode.IsBridge() {
		return nil, nil
	}
	for _, l := range rec.HostConfig.Links {
		for alias, name := range linksOf([]string{l}) {
			c, err := e.find(name)
			if err != nil {
				return nil, fmt.Errorf("could not get container for %s: %w", name, err)
			}
			other, st := c.record(), c.state()
			if !st.alive() {
				return nil, fmt.Errorf("Cannot link to a non running container: /%s AS /%s/%s: %w", other.Name, rec.Name, alias, errdefs.ErrFailedPrecondition)
			}
			ep := st.Endpoints[network.DefaultName]
			if ep == nil {
				return nil, fmt.Errorf("Cannot link to /%s, as it does not belong to the default network: %w", other.Name, errdefs.ErrFailedPrecondition)
			}
			for _, addr := range []netip.Addr{ep.IPAddress, ep.GlobalIPv6Address} {
				if addr.IsValid() {
					lines = append(lines, network.HostsLine(addr, alias, other.Config.Hostname, other.Name))
				}
			}
		}
	}
	return lines, nil
}
