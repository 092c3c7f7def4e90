package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// generation counts the transactions of all programs in this network
// namespace. Rules of others are read again only when somebody else made one:
// that costs much where there are many, and every start of a container asks.
type generation struct {
	conn *netlink.Conn
	// seen is the generation at which all was known to be right, counting on
	// with our own transactions; 0 is unknown.
	seen uint32
}

// now asks the kernel.
func (g *generation) now() (uint32, error) {
	if g.conn == nil {
		conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
		if err != nil {
			return 0, fmt.Errorf("nftables: %w", err)
		}
		g.conn = conn
	}
	answers, err := g.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN), Flags: netlink.Request},
		Data:   []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, 0},
	})
	if err != nil || len(answers) == 0 || len(answers[0].Data) < 4 {
		g.close()
		return 0, fmt.Errorf("nftables: read generation: %w", err)
	}
	attrs, err := netlink.UnmarshalAttributes(answers[0].Data[4:])
	if err != nil {
		return 0, fmt.Errorf("nftables: read generation: %w", err)
	}
	for _, a := range attrs {
		if a.Type == unix.NFTA_GEN_ID && len(a.Data) == 4 {
			return binary.BigEndian.Uint32(a.Data), nil
		}
	}
	return 0, fmt.Errorf("nftables: the kernel tells no generation")
}

func (g *generation) close() {
	if g.conn != nil {
		go g.conn.Close()
		g.conn = nil
	}
}

// Check restores the table when it is gone and lets forwarded packets pass in
// the base chains of others that would drop them.
func (f *Firewall) Check() error {
	return f.locked(func(c *nftables.Conn) error {
		now, err := f.gen.now()
		if err != nil {
			now = 0 // look, to be sure
		}
		if now != 0 && now == f.gen.seen {
			return nil
		}
		f.gen.seen = now
		if len(f.bridges) == 0 {
			err = f.admit()
		} else {
			err = f.check(c)
		}
		if err != nil {
			f.gen.seen = 0
		}
		return err
	})
}
