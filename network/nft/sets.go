package nft

import (
	"encoding/binary"
	"net/netip"

	"gantry/network/ipam"

	"github.com/google/nftables"
)

// The sets of the table. The rules never change: bridges and ports come and go
// as elements of these.
const (
	setBridges  = "bridges"     // ifname: all bridges
	setSame     = "same_bridge" // ifname . ifname: in and out through one bridge
	setInternal = "internal"    // ifname
	setIsolated = "isolated"    // ifname: enable_icc=false
	setMasq     = "masquerade"  // ifname
	setSubnets4 = "subnets4"    // address . ifname: a container of this very bridge
	setSubnets6 = "subnets6"

	mapPublish4    = "publish4"     // address . protocol . port : address . port
	mapPublish4Any = "publish4_any" // protocol . port : address . port
	mapPublish6    = "publish6"
	mapPublish6Any = "publish6_any"
)

// setOf describes the set name. IDs are ours: the library's own counter is not
// safe for concurrent use.
func (f *Firewall) setOf(name string) *nftables.Set {
	s := &nftables.Set{Table: f.table, Name: name}
	concat := func(t ...nftables.SetDatatype) nftables.SetDatatype {
		s.Concatenation = len(t) > 1
		return nftables.MustConcatSetType(t...)
	}
	publish := func(addr nftables.SetDatatype, key ...nftables.SetDatatype) {
		s.IsMap = true
		s.KeyType = concat(append(key, nftables.TypeInetProto, nftables.TypeInetService)...)
		s.DataType = nftables.MustConcatSetType(addr, nftables.TypeInetService)
	}
	switch name {
	case setBridges, setInternal, setIsolated, setMasq:
		s.KeyType = nftables.TypeIFName
	case setSame:
		s.KeyType = concat(nftables.TypeIFName, nftables.TypeIFName)
	case setSubnets4:
		s.KeyType, s.Interval = concat(nftables.TypeIPAddr, nftables.TypeIFName), true
	case setSubnets6:
		s.KeyType, s.Interval = concat(nftables.TypeIP6Addr, nftables.TypeIFName), true
	case mapPublish4:
		publish(nftables.TypeIPAddr, nftables.TypeIPAddr)
	case mapPublish4Any:
		publish(nftables.TypeIPAddr)
	case mapPublish6:
		publish(nftables.TypeIP6Addr, nftables.TypeIP6Addr)
	case mapPublish6Any:
		publish(nftables.TypeIP6Addr)
	}
	for i, n := range setNames {
		if n == name {
			s.ID = uint32(i + 1)
		}
	}
	return s
}

var setNames = [...]string{
	setBridges, setSame, setInternal, setIsolated, setMasq, setSubnets4, setSubnets6,
	mapPublish4, mapPublish4Any, mapPublish6, mapPublish6Any,
}

func (f *Firewall) publishSets() []*nftables.Set {
	return []*nftables.Set{f.setOf(mapPublish4), f.setOf(mapPublish4Any), f.setOf(mapPublish6), f.setOf(mapPublish6Any)}
}

func (f *Firewall) publishSet(front Frontend) *nftables.Set {
	switch any := front.IP.IsUnspecified(); {
	case front.IP.Is4() && any:
		return f.setOf(mapPublish4Any)
	case front.IP.Is4():
		return f.setOf(mapPublish4)
	case any:
		return f.setOf(mapPublish6Any)
	}
	return f.setOf(mapPublish6)
}

// change adds or deletes the elements that make b known.
func (f *Firewall) change(b Bridge, change func(*nftables.Set, []nftables.SetElement) error) error {
	name := ifname(b.Name)
	one := func(set string, elems ...nftables.SetElement) error { return change(f.setOf(set), elems) }
	if err := one(setBridges, nftables.SetElement{Key: name}); err != nil {
		return err
	}
	if err := one(setSame, nftables.SetElement{Key: join(name, name)}); err != nil {
		return err
	}
	for set, member := range map[string]bool{setInternal: b.Internal, setIsolated: b.Isolated, setMasq: b.Masquerade} {
		if member {
			if err := one(set, nftables.SetElement{Key: name}); err != nil {
				return err
			}
		}
	}
	for _, p := range b.Subnets {
		set := setSubnets6
		if p.Addr().Is4() {
			set = setSubnets4
		}
		e := nftables.SetElement{Key: join(p.Masked().Addr().AsSlice(), name), KeyEnd: join(ipam.Last(p).AsSlice(), name)}
		if err := one(set, e); err != nil {
			return err
		}
	}
	return nil
}

func (a Frontend) key() []byte {
	port := join([]byte{a.Proto}, be16(a.Port))
	if a.IP.IsUnspecified() {
		return port
	}
	return append(join(a.IP.AsSlice()), port...)
}

func value(to netip.AddrPort) []byte { return join(to.Addr().AsSlice(), be16(to.Port())) }

// decode is the reverse of key and value.
func decode(set string, e nftables.SetElement) (front Frontend, to netip.AddrPort, ok bool) {
	size, key, val := 4, e.Key, e.Val
	front.IP = netip.IPv4Unspecified()
	if set == mapPublish6 || set == mapPublish6Any {
		size, front.IP = 16, netip.IPv6Unspecified()
	}
	if set == mapPublish4 || set == mapPublish6 {
		if len(key) < size {
			return front, to, false
		}
		front.IP, _ = netip.AddrFromSlice(key[:size])
		key = key[size:]
	}
	if len(key) < 6 || len(val) < size+2 {
		return front, to, false
	}
	front.Proto, front.Port = key[0], binary.BigEndian.Uint16(key[4:])
	addr, _ := netip.AddrFromSlice(val[:size])
	return front, netip.AddrPortFrom(addr, binary.BigEndian.Uint16(val[size:])), true
}

// ifname is an interface's name as the kernel compares it.
func ifname(s string) []byte { b := make([]byte, 16); copy(b, s); return b }

func be16(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }

// join concatenates fields as registers hold them: each padded to four bytes.
func join(fields ...[]byte) (out []byte) {
	for _, f := range fields {
		out = append(out, f...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
	}
	return out
}
