// Package ipam decides about addresses. It is pure: what is taken is told to
// it, and nothing is read from or written to the host.
package ipam

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/containerd/errdefs"
)

// InUseError says who holds an address.
type InUseError struct {
	Addr  netip.Addr
	Owner string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("address %s is held by %q", e.Addr, e.Owner)
}

// Unwrap makes it an errdefs.ErrAlreadyExists.
func (e *InUseError) Unwrap() error { return errdefs.ErrAlreadyExists }

// Subnet hands out the addresses of one prefix, in a ring: an address that was
// freed comes again only after all others of the range had their turn, so that
// neighbours' caches forget it first. It is not safe for concurrent use.
type Subnet struct {
	prefix, dynamic netip.Prefix
	gateway         netip.Addr
	used            map[netip.Addr]string // address to owner
	last            netip.Addr            // handed out last, invalid at first
}

// Reserved owns addresses that nobody may take: the network's own address, the
// broadcast address and auxiliary addresses. Gateway owns the gateway's.
const (
	Reserved = "reserved"
	Gateway  = "gateway"
)

// NewSubnet makes the allocator of prefix. Automatic addresses come from
// dynamic (zero: all of prefix); gateway (zero: the first host) and aux are
// never handed out. Errors are errdefs.ErrInvalidArgument.
func NewSubnet(prefix, dynamic netip.Prefix, gateway netip.Addr, aux ...netip.Addr) (*Subnet, error) {
	if !prefix.IsValid() {
		return nil, fmt.Errorf("subnet is missing: %w", errdefs.ErrInvalidArgument)
	}
	if prefix != prefix.Masked() {
		return nil, fmt.Errorf("subnet %s: host bits are set, write %s: %w", prefix, prefix.Masked(), errdefs.ErrInvalidArgument)
	}
	if prefix.Bits() > prefix.Addr().BitLen()-1 || prefix.Bits() == 0 {
		return nil, fmt.Errorf("subnet %s cannot hold a gateway and a container: %w", prefix, errdefs.ErrInvalidArgument)
	}
	if !dynamic.IsValid() {
		dynamic = prefix
	}
	dynamic = dynamic.Masked()
	if dynamic.Bits() < prefix.Bits() || !prefix.Contains(dynamic.Addr()) {
		return nil, fmt.Errorf("ip range %s is not part of subnet %s: %w", dynamic, prefix, errdefs.ErrInvalidArgument)
	}
	s := &Subnet{prefix: prefix, dynamic: dynamic, used: map[netip.Addr]string{}}
	// RFC 3021: a /31 (RFC 6164: a /127) has no network and broadcast address.
	if prefix.Bits() < prefix.Addr().BitLen()-1 {
		s.used[prefix.Addr()] = Reserved // RFC 4291 2.6.1: the subnet-router anycast address with IPv6
		if prefix.Addr().Is4() {
			s.used[Last(prefix)] = Reserved
		}
	}
	if !gateway.IsValid() {
		gateway = prefix.Addr()
		if s.used[gateway] != "" {
			gateway = gateway.Next()
		}
	}
	if err := s.Take(gateway, Gateway); err != nil {
		return nil, fmt.Errorf("gateway %s of subnet %s: %w", gateway, prefix, invalid(err))
	}
	s.gateway = gateway
	for _, a := range aux {
		if err := s.Take(a, Reserved); err != nil {
			return nil, fmt.Errorf("auxiliary address %s of subnet %s: %w", a, prefix, invalid(err))
		}
	}
	return s, nil
}

func invalid(err error) error { return fmt.Errorf("%w: %v", errdefs.ErrInvalidArgument, err) }

// Prefix is the subnet itself.
func (s *Subnet) Prefix() netip.Prefix { return s.prefix }

// Gateway is the address that is the host's.
func (s *Subnet) Gateway() netip.Addr { return s.gateway }

// Len counts the addresses that owners hold, reserved ones included.
func (s *Subnet) Len() int { return len(s.used) }

// Count tells how many addresses are held, reserved ones included, and how many
// automatic ones are left, both at most 2⁶⁴-1.
func (s *Subnet) Count() (used, available uint64) {
	bits := s.dynamic.Addr().BitLen() - s.dynamic.Bits()
	available = math.MaxUint64
	if bits < 64 {
		available = 1 << bits
	}
	for a := range s.used {
		if s.dynamic.Contains(a) {
			available--
		}
	}
	return uint64(len(s.used)), available
}

// Take gives addr to owner; taking it again is no error. Errors: *InUseError,
// errdefs.ErrInvalidArgument when it is no address of the subnet.
func (s *Subnet) Take(addr netip.Addr, owner string) error {
	if !s.prefix.Contains(addr) {
		return fmt.Errorf("address %s is not part of subnet %s: %w", addr, s.prefix, errdefs.ErrInvalidArgument)
	}
	if held, ok := s.used[addr]; ok && held != owner {
		return &InUseError{Addr: addr, Owner: held}
	}
	s.used[addr] = owner
	return nil
}

// Next gives owner an address. The error is errdefs.ErrResourceExhausted when
// none is left.
func (s *Subnet) Next(owner string) (netip.Addr, error) {
	addr := s.last
	// Of len(used)+1 different addresses one is free, unless the range is smaller.
	for range len(s.used) + 1 {
		if addr = addr.Next(); !addr.IsValid() || !s.dynamic.Contains(addr) {
			addr = s.dynamic.Addr()
		}
		if _, taken := s.used[addr]; !taken {
			s.used[addr], s.last = owner, addr
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("subnet %s: all addresses of range %s are in use: %w", s.prefix, s.dynamic, errdefs.ErrResourceExhausted)
}

// Free takes addr back from owner; what somebody else holds is left alone.
func (s *Subnet) Free(addr netip.Addr, owner string) {
	if held, ok := s.used[addr]; ok && held == owner && owner != Reserved && owner != Gateway {
		delete(s.used, addr)
	}
}

// Last is the highest address of p.
func Last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
