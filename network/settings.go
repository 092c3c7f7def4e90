package network

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

// Names of the networks that are always there.
const (
	DefaultName = "bridge"
	HostName    = "host"
	NoneName    = "none"
)

// Options of the bridge driver, by Docker's names.
const (
	optBridge      = "com.docker.network.bridge.name"
	optICC         = "com.docker.network.bridge.enable_icc"
	optMasquerade  = "com.docker.network.bridge.enable_ip_masquerade"
	optHostBinding = "com.docker.network.bridge.host_binding_ipv4"
	optMTU         = "com.docker.network.driver.mtu"
	optDefault     = "com.docker.network.bridge.default_bridge"
)

// settings is what a network's options mean to the bridge driver.
type settings struct {
	bridge      string // "": to be chosen
	icc, masq   bool
	hostBinding netip.Addr // invalid: all addresses
	mtu         int        // 0: the kernel's default
}

var (
	namePattern   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`)
	devicePattern = regexp.MustCompile(`^[^\s/:]{1,15}$`) // dev_valid_name in the kernel
)

// parseRequest checks a request and gives the network that it describes; its
// IPAM holds what was asked for, nothing chosen yet.
func parseRequest(name string, req network.CreateRequest) (network.Network, error) {
	fail := func(format string, args ...any) (network.Network, error) {
		return network.Network{}, fmt.Errorf("network %q: %s: %w", name, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
	}
	if !namePattern.MatchString(name) {
		return fail("a name has letters, digits, '_', '.' and '-', and starts with a letter or digit")
	}
	if err := checkDriver(req.Driver); err != nil {
		return network.Network{}, fmt.Errorf("network %q: %w", name, err)
	}
	if req.Scope != "" && req.Scope != "local" {
		return fail("scope %q is not supported, use local", req.Scope)
	}
	if req.Ingress || req.ConfigOnly || req.ConfigFrom != nil && req.ConfigFrom.Network != "" {
		return fail("ingress and configuration networks are not supported")
	}
	n := network.Network{
		Name: name, Scope: "local", Driver: "bridge", EnableIPv4: true,
		Internal: req.Internal, Attachable: req.Attachable,
		Options: maps.Clone(req.Options), Labels: maps.Clone(req.Labels),
		IPAM: network.IPAM{Driver: "default"},
	}
	if req.IPAM != nil {
		n.IPAM.Options = maps.Clone(req.IPAM.Options)
	}
	if req.EnableIPv4 != nil {
		n.EnableIPv4 = *req.EnableIPv4
	}
	if req.EnableIPv6 != nil {
		n.EnableIPv6 = *req.EnableIPv6
	}
	if !n.EnableIPv4 && !n.EnableIPv6 {
		return fail("both IPv4 and IPv6 are turned off")
	}
	if _, err := parseOptions(n); err != nil {
		return fail("%v", err)
	}
	if req.IPAM == nil {
		return n, nil
	}
	if req.IPAM.Driver != "" && req.IPAM.Driver != "default" {
		return fail("IPAM driver %q is not supported, use default", req.IPAM.Driver)
	}
	if len(req.IPAM.Options) > 0 {
		return fail("IPAM option %q is not supported", slices.Sorted(maps.Keys(req.IPAM.Options))[0])
	}
	seen := map[bool]bool{}
	for _, c := range req.IPAM.Config {
		if !c.Subnet.IsValid() {
			if c.IPRange.IsValid() || c.Gateway.IsValid() || len(c.AuxAddress) > 0 {
				return fail("ip range, gateway and auxiliary addresses need a subnet")
			}
			continue
		}
		is4 := c.Subnet.Addr().Is4()
		if is4 && !n.EnableIPv4 || !is4 && !n.EnableIPv6 {
			continue // as Docker: a subnet of a family that is turned off is not used
		}
		if seen[is4] {
			return fail("the bridge driver takes one subnet of each family")
		}
		seen[is4] = true
		if _, err := newSubnet(c); err != nil {
			return fail("%v", err)
		}
		n.IPAM.Config = append(n.IPAM.Config, c)
	}
	return n, nil
}

// checkDriver accepts the bridge driver alone.
func checkDriver(driver string) error {
	switch driver {
	case "", "bridge", "default":
		return nil
	case "host", "null", "none":
		return fmt.Errorf("only one instance of %q network is allowed: %w", driver, errdefs.ErrPermissionDenied)
	case "macvlan", "ipvlan", "overlay":
		return fmt.Errorf("driver %q is not supported by Gantry, use bridge: %w", driver, errdefs.ErrNotImplemented)
	}
	return fmt.Errorf("could not find plugin %[1]s in v1 plugin registry: plugin %[1]q not found: %[2]w", driver, errdefs.ErrNotFound)
}

// CheckMTU refuses what no network's MTU can be, in bytes. Source: RFC 791.
func CheckMTU(mtu int) error {
	if mtu < 68 || mtu > 65535 {
		return fmt.Errorf("out of range 68 to 65535")
	}
	return nil
}

// CheckOptions tells with ErrInvalidArgument what the bridge driver does not
// take of options that networks are to get by default.
func CheckOptions(options map[string]string) error {
	for _, own := range []string{optBridge, optDefault} {
		if _, ok := options[own]; ok {
			return fmt.Errorf("driver option %q is one network's own, no default: %w", own, errdefs.ErrInvalidArgument)
		}
	}
	if _, err := parseOptions(network.Network{Options: options}); err != nil {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return nil
}

// parseOptions reads the driver's options; one that is unknown is an error.
func parseOptions(n network.Network) (settings, error) {
	s := settings{icc: true, masq: true}
	for _, key := range slices.Sorted(maps.Keys(n.Options)) {
		v, err := n.Options[key], error(nil)
		switch key {
		case optBridge:
			if s.bridge = v; !devicePattern.MatchString(v) || v == "." || v == ".." {
				err = fmt.Errorf("a device name has at most 15 characters without '/', ':' and blanks")
			}
		case optICC:
			s.icc, err = strconv.ParseBool(v)
		case optMasquerade:
			s.masq, err = strconv.ParseBool(v)
		case optHostBinding:
			if s.hostBinding, err = netip.ParseAddr(v); err == nil && !s.hostBinding.Is4() {
				err = fmt.Errorf("not an IPv4 address")
			}
		case optMTU:
			if s.mtu, err = strconv.Atoi(v); err == nil {
				err = CheckMTU(s.mtu)
			}
		case optDefault:
		default:
			if !strings.HasPrefix(key, "com.docker.network.") {
				continue // as Docker: what belongs to others is kept
			}
			err = fmt.Errorf("not supported")
		}
		if err != nil {
			return s, fmt.Errorf("driver option %q: value %q: %v", key, v, err)
		}
	}
	return s, nil
}
