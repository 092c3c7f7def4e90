package nft

import (
	"fmt"
	"slices"
	"strings"

	"errors"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// ErrForeign wraps what went wrong in chains that are not ours.
var ErrForeign = errors.New("packet filter of the host")

// check restores the table when it is gone, else it looks after others' chains.
func (f *Firewall) check(c *nftables.Conn) error {
	chains, err := c.ListChains()
	if err != nil {
		return fmt.Errorf("list nft chains: %w", err)
	}
	if !slices.ContainsFunc(chains, func(ch *nftables.Chain) bool {
		return ch.Table.Name == f.table.Name && ch.Table.Family == f.table.Family
	}) {
		return f.rebuild()
	}
	return f.admitIn(c, chains)
}

// admit lets packets of our bridges pass in the base chains of others that
// drop what they do not know: iptables' FORWARD with policy DROP (ufw, Docker
// and hardened hosts set it), and firewalld's. What our own table drops stays
// dropped. Rules are put at the head and carry our tag; those that are not
// wanted any more go.
func (f *Firewall) admit() error {
	c, err := f.open()
	if err != nil {
		return err
	}
	chains, err := c.ListChains()
	if err != nil {
		return fmt.Errorf("list nft chains: %w", err)
	}
	return f.admitIn(c, chains)
}

func (f *Firewall) admitIn(c *nftables.Conn, chains []*nftables.Chain) error {
	var errs []error
	for _, ch := range chains {
		if ch.Hooknum == nil || *ch.Hooknum != *nftables.ChainHookForward || strings.HasPrefix(ch.Table.Name, "gantry") {
			continue
		}
		switch ch.Table.Family {
		case nftables.TableFamilyIPv4, nftables.TableFamilyIPv6, nftables.TableFamilyINet:
		default:
			continue
		}
		rules, err := c.GetRules(ch.Table, ch)
		if err != nil {
			if !errors.Is(err, unix.ENOENT) {
				errs = append(errs, fmt.Errorf("nft chain %q %q: list rules: %w", ch.Table.Name, ch.Name, err))
			}
			continue
		}
		dropping := ch.Policy != nil && *ch.Policy == nftables.ChainPolicyDrop || ch.Table.Name == "firewalld"
		if err := f.reconcile(c, ch, rules, dropping); err != nil {
			errs = append(errs, fmt.Errorf("nft chain %q %q: let %q pass: %w", ch.Table.Name, ch.Name, f.table.Name, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return nil
}

// reconcile makes our rules in ch those that are wanted, and changes nothing
// where they are.
func (f *Firewall) reconcile(c *nftables.Conn, ch *nftables.Chain, rules []*nftables.Rule, wanted bool) error {
	missing := map[string]*nftables.Rule{}
	if wanted {
		for _, b := range f.sorted() {
			for dir, key := range map[string]expr.MetaKey{" in ": expr.MetaKeyIIFNAME, " out ": expr.MetaKeyOIFNAME} {
				note := f.tag + dir + b.Name
				missing[note] = &nftables.Rule{Table: ch.Table, Chain: ch,
					UserData: userdata.AppendString(nil, userdata.TypeComment, note),
					Exprs: []expr.Any{
						&expr.Meta{Key: key, Register: 1},
						&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: ifname(b.Name)},
						&expr.Counter{},
						&expr.Verdict{Kind: expr.VerdictAccept},
					}}
			}
		}
	}
	changed := false
	for _, r := range rules {
		note := comment(r.UserData)
		if !strings.HasPrefix(note, f.tag+" ") {
			continue
		}
		if missing[note] != nil {
			delete(missing, note)
			continue
		}
		r.Table, r.Chain, changed = ch.Table, ch, true
		if err := c.DelRule(r); err != nil {
			return err
		}
	}
	for _, r := range missing {
		c.InsertRule(r)
		changed = true
	}
	if !changed {
		return nil
	}
	return f.flush(c)
}

// comment is what `nft` shows as a rule's comment: the string of type 0 in a
// list of type, length, value.
func comment(udata []byte) string {
	for len(udata) >= 2 {
		kind, size := userdata.Type(udata[0]), int(udata[1])
		if udata = udata[2:]; len(udata) < size {
			break
		}
		if kind == userdata.TypeComment {
			return strings.TrimRight(string(udata[:size]), "\x00")
		}
		udata = udata[size:]
	}
	return ""
}
