package ipam

import (
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
)

// Pool is cut into subnets of Size bits, as Docker's default-address-pools are.
type Pool struct {
	Base netip.Prefix
	Size int // prefix length of each subnet
}

// Check tells what is wrong with a pool (errdefs.ErrInvalidArgument).
func (p Pool) Check() error {
	if !p.Base.IsValid() || p.Size < p.Base.Bits() || p.Size > p.Base.Addr().BitLen()-2 {
		return fmt.Errorf("address pool %s cannot be cut into subnets of /%d: %w", p.Base, p.Size, errdefs.ErrInvalidArgument)
	}
	return nil
}

// Choose returns a subnet of the first pool with room that overlaps none of
// taken: after passing over nth free ones where there are as many. The error
// is errdefs.ErrResourceExhausted.
func Choose(pools []Pool, taken []netip.Prefix, nth int) (netip.Prefix, error) {
	var found netip.Prefix
	for _, pool := range pools {
		if pool.Check() != nil {
			continue
		}
		base := pool.Base.Masked()
		for at := base.Addr(); at.IsValid() && base.Contains(at); {
			block := netip.PrefixFrom(at, pool.Size)
			if t, hit := overlap(block, taken); hit {
				at = after(t, block)
				continue
			}
			if found = block; nth <= 0 {
				return found, nil
			}
			nth--
			at = after(block, block)
		}
		if found.IsValid() {
			return found, nil
		}
	}
	return found, fmt.Errorf("all default address pools are in use by networks or routes of the host: name a subnet, or widen default-address-pools: %w", errdefs.ErrResourceExhausted)
}

// overlap returns the widest of taken that shares addresses with block.
func overlap(block netip.Prefix, taken []netip.Prefix) (widest netip.Prefix, hit bool) {
	for _, t := range taken {
		if t.Overlaps(block) && (!hit || t.Bits() < widest.Bits()) {
			widest, hit = t, true
		}
	}
	return widest, hit
}

// after is the first address beyond both, invalid at the end of the space.
func after(a, b netip.Prefix) netip.Addr {
	end := Last(a)
	if l := Last(b); end.Less(l) {
		end = l
	}
	return end.Next()
}

// DefaultPools are the IPv4 ranges of Docker, in smaller pieces.
func DefaultPools() []Pool {
	var pools []Pool
	for i := range 15 {
		pools = append(pools, Pool{Base: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(17 + i), 0, 0}), 16), Size: 24})
	}
	return append(pools,
		Pool{Base: netip.MustParsePrefix("10.128.0.0/9"), Size: 24},
		Pool{Base: netip.MustParsePrefix("192.168.0.0/16"), Size: 24})
}

// UniqueLocal is the IPv6 pool of this machine: RFC 4193, a /48 whose global
// ID comes from seed (random bytes or a digest).
func UniqueLocal(seed [5]byte) Pool {
	a := [16]byte{0: 0xfd}
	copy(a[1:], seed[:])
	return Pool{Base: netip.PrefixFrom(netip.AddrFrom16(a), 48), Size: 64}
}
