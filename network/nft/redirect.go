package nft

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Redirect makes port 53 of addr, an IPv4 loopback address, lead to the sockets
// at ports udp and tcp in the network namespace of the calling thread. Ports
// are rewritten in both directions without connection tracking: a container
// does not pay for it, and new ports count at once for old sockets of clients.
func Redirect(addr [4]byte, udp, tcp uint16) error {
	c, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	// behind the caller's back: it waits until what was deleted is freed
	defer func() { go c.CloseLasting() }()
	table := &nftables.Table{Name: "gantry-dns", Family: nftables.TableFamilyIPv4}
	c.AddTable(table)
	c.FlushTable(table) // of an earlier daemon
	ch := c.AddChain(&nftables.Chain{Name: "output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityMangle})
	const (
		source, destination = 12, 16 // of the IPv4 header
		sport, dport        = 0, 2   // of UDP's and TCP's
	)
	rewrite := func(proto byte, address, port uint32, from, to uint16) {
		checksum := uint32(6)
		if proto == unix.IPPROTO_TCP {
			checksum = 16
		}
		c.AddRule(&nftables.Rule{Table: table, Chain: ch, Exprs: []expr.Any{
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: address, Len: 4},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: addr[:]},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: be16(from)},
			&expr.Immediate{Register: 1, Data: be16(to)},
			&expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: 1, Base: expr.PayloadBaseTransportHeader,
				Offset: port, Len: 2, CsumType: expr.CsumTypeInet, CsumOffset: checksum},
		}})
	}
	rewrite(unix.IPPROTO_UDP, destination, dport, 53, udp)
	rewrite(unix.IPPROTO_TCP, destination, dport, 53, tcp)
	rewrite(unix.IPPROTO_UDP, source, sport, udp, 53)
	rewrite(unix.IPPROTO_TCP, source, sport, tcp, 53)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("redirect DNS: %w", err)
	}
	return nil
}

// DropForwarded sets the policy of iptables' FORWARD chain to DROP, for IPv4 or
// IPv6, making the chain where it is missing. It is what Docker does before it
// turns forwarding on, so that the host does not become a router for others.
func DropForwarded(ipv6 bool) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("nftables: %w", err)
	}
	fam := nftables.TableFamilyIPv4
	if ipv6 {
		fam = nftables.TableFamilyIPv6
	}
	policy := nftables.ChainPolicyDrop
	table := c.AddTable(&nftables.Table{Name: "filter", Family: fam})
	c.AddChain(&nftables.Chain{Name: "FORWARD", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &policy})
	if err := c.Flush(); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("set policy of chain FORWARD: %w", err)
	}
	return nil
}
