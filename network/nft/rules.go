package nft

import (
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// rebuild replaces the whole table by what is remembered, in one transaction:
// packets see the old one or the new one.
func (f *Firewall) rebuild() error {
	c, err := f.open()
	if err != nil {
		return err
	}
	c.AddTable(f.table) // so that there is one to delete
	c.DelTable(f.table)
	c.AddTable(f.table)
	for _, name := range setNames {
		if err := c.AddSet(f.setOf(name), nil); err != nil {
			return err
		}
	}
	f.chains(c)
	for _, b := range f.sorted() {
		if err := f.change(b, c.SetAddElements); err != nil {
			return err
		}
	}
	for _, front := range slices.SortedFunc(maps.Keys(f.forwards), Frontend.compare) {
		e := []nftables.SetElement{{Key: front.key(), Val: value(f.forwards[front])}}
		if err := c.SetAddElements(f.publishSet(front), e); err != nil {
			return err
		}
	}
	if err := f.flush(c); err != nil {
		return fmt.Errorf("nft table %q: %w", f.table.Name, err)
	}
	return f.admit()
}

// chains are the rules. Drop is final in nftables, accept is not: other
// tables of the host still have their say.
func (f *Firewall) chains(c *nftables.Conn) {
	add := func(name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) func(...[]expr.Any) {
		policy := nftables.ChainPolicyAccept
		ch := c.AddChain(&nftables.Chain{Name: name, Table: f.table, Type: kind, Hooknum: hook, Priority: prio, Policy: &policy})
		return func(parts ...[]expr.Any) {
			c.AddRule(&nftables.Rule{Table: f.table, Chain: ch, Exprs: slices.Concat(parts...)})
		}
	}
	var (
		in, out        = f.name(expr.MetaKeyIIFNAME), f.name(expr.MetaKeyOIFNAME)
		same, notSame  = f.through(false), f.through(true)
		dnat           = ctStatus(1 << 5) // IPS_DST_NAT
		accept, drop   = verdict(expr.VerdictAccept), verdict(expr.VerdictDrop)
		ret            = verdict(expr.VerdictReturn)
		masquerade     = []expr.Any{&expr.Masq{}}
		toLoopback     = append(family(unix.NFPROTO_IPV4), prefix(16, []byte{127, 0, 0, 0}, 1)...)
		fromLoopback   = append(family(unix.NFPROTO_IPV4), prefix(12, []byte{127, 0, 0, 0}, 1)...)
		toLoopback6    = append(family(unix.NFPROTO_IPV6), payload(24, append(make([]byte, 15), 1))...)
		toLinkLocal6   = append(family(unix.NFPROTO_IPV6), prefix(24, []byte{0xfe, 0x80}, 2)...)
		toOne, toAny   = f.translate(unix.NFPROTO_IPV4, true), f.translate(unix.NFPROTO_IPV4, false)
		toOne6, toAny6 = f.translate(unix.NFPROTO_IPV6, true), f.translate(unix.NFPROTO_IPV6, false)
	)

	// route_localnet on the bridges must not open the host's loopback services.
	rule := add("raw", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	rule(in(setBridges, false), toLoopback, drop)

	// From outside nobody reaches what is published on 127.0.0.1; ::1 and
	// link-local addresses cannot be forwarded: the proxy serves them.
	rule = add("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	rule(toLoopback, ret)
	rule(toLinkLocal6, ret)
	for _, r := range [][]expr.Any{toOne, toAny, toOne6, toAny6} {
		rule(r)
	}
	rule = add("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest)
	rule(toLoopback6, ret)
	rule(toLinkLocal6, ret)
	for _, r := range [][]expr.Any{toOne, toAny, toOne6, toAny6} {
		rule(r)
	}

	rule = add("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	rule(in(setMasq, false), notSame, masquerade)
	rule(fromLoopback, out(setBridges, false), masquerade)
	// Hairpin: the answer must come back through us. By address, as the input
	// interface of bridged packets is not known here.
	rule(dnat, f.local(unix.NFPROTO_IPV4), masquerade)
	rule(dnat, f.local(unix.NFPROTO_IPV6), masquerade)

	rule = add("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	rule(in(setBridges, true), out(setBridges, true), accept)
	rule(ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept)
	rule(in(setInternal, false), notSame, drop)
	rule(out(setInternal, false), notSame, drop)
	rule(dnat, accept)
	rule(in(setIsolated, false), same, drop)
	rule(same, accept)
	rule(out(setBridges, false), drop)
}

func reg32(n uint32) uint32 { return unix.NFT_REG32_00 + n }

func verdict(k expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: k}} }

func family(proto byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

// payload matches bytes of the network header.
func payload(offset uint32, data []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(len(data))},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data},
	}
}

// prefix matches the first n bytes of an address in the network header; of two
// bytes only the upper ten bits count (fe80::/10).
func prefix(offset uint32, addr []byte, n uint32) []expr.Any {
	mask := make([]byte, n)
	mask[0] = 0xff
	if n == 2 {
		mask[1] = 0xc0
	}
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: n},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: n, Mask: mask, Xor: make([]byte, n)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr[:n]},
	}
}

func ctBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

func ctStatus(bits uint32) []expr.Any { return ctBits(expr.CtKeySTATUS, bits) }
func ctState(bits uint32) []expr.Any  { return ctBits(expr.CtKeySTATE, bits) }

func (f *Firewall) lookup(set string, invert bool) *expr.Lookup {
	s := f.setOf(set)
	return &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: invert}
}

// name matches the input or output interface against a set.
func (f *Firewall) name(key expr.MetaKey) func(set string, invert bool) []expr.Any {
	return func(set string, invert bool) []expr.Any {
		return []expr.Any{&expr.Meta{Key: key, Register: 1}, f.lookup(set, invert)}
	}
}

// through matches packets that come and go through the same bridge.
func (f *Firewall) through(invert bool) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 2},
		f.lookup(setSame, invert),
	}
}

// local matches a source address that belongs behind the output bridge.
func (f *Firewall) local(fam byte) []expr.Any {
	offset, size, set := uint32(12), uint32(4), setSubnets4
	if fam == unix.NFPROTO_IPV6 {
		offset, size, set = 8, 16, setSubnets6
	}
	return append(family(fam),
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: reg32(size / 4)},
		f.lookup(set, false))
}

// translate is DNAT by map: to what is published on one address of the host,
// or on any (fib daddr type local).
func (f *Firewall) translate(fam byte, one bool) []expr.Any {
	offset, words, set := uint32(16), uint32(1), mapPublish4Any
	switch {
	case fam == unix.NFPROTO_IPV6 && one:
		offset, words, set = 24, 4, mapPublish6
	case fam == unix.NFPROTO_IPV6:
		words, set = 4, mapPublish6Any
	case one:
		set = mapPublish4
	}
	rule, at := family(fam), uint32(0)
	if one {
		rule = append(rule, &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: words * 4})
		at = words
	} else {
		rule = append(rule,
			&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)})
	}
	s := f.setOf(set)
	return append(rule,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg32(at)},
		&expr.Payload{DestRegister: reg32(at + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: reg32(0), DestRegister: reg32(0), IsDestRegSet: true, SetName: s.Name, SetID: s.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(fam), RegAddrMin: reg32(0), RegProtoMin: reg32(words), Specified: true})
}
