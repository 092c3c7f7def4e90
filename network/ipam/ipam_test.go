package ipam

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"
)

// Whatever is taken, chosen and freed: no address is ever held twice, none is
// outside of its range, and a freed one is not the next one unless it must be.
func TestSubnetProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 31).Draw(t, "bits")
		base := netip.MustParseAddr("10.1.2.0")
		if rapid.Bool().Draw(t, "IPv6") {
			bits, base = bits+96, netip.MustParseAddr("fd00::100")
		}
		prefix := netip.PrefixFrom(base, bits).Masked()
		dynamic := netip.PrefixFrom(prefix.Addr(), rapid.IntRange(bits, prefix.Addr().BitLen()).Draw(t, "range"))
		s, err := NewSubnet(prefix, dynamic, netip.Addr{})
		if err != nil {
			t.Fatal(err)
		}
		held := map[netip.Addr]string{}
		for a, owner := range s.used {
			held[a] = owner
		}
		if _, ok := held[s.Gateway()]; !ok || !prefix.Contains(s.Gateway()) {
			t.Fatalf("gateway %s of %s is not reserved", s.Gateway(), prefix)
		}
		room := func() (n int) {
			for a := dynamic.Addr(); dynamic.Contains(a); a = a.Next() {
				if held[a] == "" {
					n++
				}
			}
			return n
		}
		var freed netip.Addr
		owner := rapid.SampledFrom([]string{"a", "b", "c"})
		t.Repeat(map[string]func(*rapid.T){
			"next": func(t *rapid.T) {
				who, free := owner.Draw(t, "owner"), room()
				a, err := s.Next(who)
				if free == 0 {
					if !errdefs.IsResourceExhausted(err) {
						t.Fatalf("got %s, %v from a full range", a, err)
					}
					return
				}
				if err != nil || !dynamic.Contains(a) || held[a] != "" {
					t.Fatalf("got %s held by %q, %v; want a free one of %s", a, held[a], err, dynamic)
				}
				if a == freed && free > 1 {
					t.Fatalf("%s was freed just now and comes again, although %d others are free", a, free-1)
				}
				held[a], freed = who, netip.Addr{}
			},
			"take": func(t *rapid.T) {
				who := owner.Draw(t, "owner")
				a := prefix.Addr()
				for range rapid.IntRange(0, 40).Draw(t, "offset") {
					a = a.Next()
				}
				err := s.Take(a, who)
				in := new(InUseError)
				switch {
				case !prefix.Contains(a):
					if !errdefs.IsInvalidArgument(err) {
						t.Fatalf("took %s outside of %s: %v", a, prefix, err)
					}
				case held[a] != "" && held[a] != who:
					if !errors.As(err, &in) || in.Owner != held[a] || !errdefs.IsAlreadyExists(err) {
						t.Fatalf("took %s of %q: %v", a, held[a], err)
					}
				case err != nil:
					t.Fatalf("could not take %s: %v", a, err)
				default:
					held[a] = who
				}
			},
			"free": func(t *rapid.T) {
				who := owner.Draw(t, "owner")
				a := prefix.Addr()
				for range rapid.IntRange(0, 40).Draw(t, "offset") {
					a = a.Next()
				}
				s.Free(a, who)
				if held[a] == who {
					delete(held, a)
					if s.last == a {
						freed = a
					}
				}
			},
			"": func(t *rapid.T) {
				if fmt.Sprint(held) != fmt.Sprint(s.used) {
					t.Fatalf("held %v, want %v", s.used, held)
				}
			},
		})
	})
}

// A chosen subnet never overlaps what is taken, and there is an error only
// when nothing fits.
func TestChooseProperties(t *testing.T) {
	prefix := rapid.Custom(func(t *rapid.T) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "b") % 2, rapid.Byte().Draw(t, "c") % 16, rapid.Byte().Draw(t, "d")}),
			rapid.IntRange(15, 32).Draw(t, "bits")).Masked()
	})
	rapid.Check(t, func(t *rapid.T) {
		pools := []Pool{{netip.MustParsePrefix("10.0.0.0/20"), rapid.IntRange(20, 26).Draw(t, "size")}, {netip.MustParsePrefix("10.1.0.0/20"), 24}}
		taken := rapid.SliceOfN(prefix, 0, 30).Draw(t, "taken")
		nth := rapid.IntRange(0, 3).Draw(t, "nth")
		free := 0
		for _, p := range pools {
			for a := p.Base.Addr(); p.Base.Contains(a); a = Last(netip.PrefixFrom(a, p.Size)).Next() {
				if _, hit := overlap(netip.PrefixFrom(a, p.Size), taken); !hit {
					free++
				}
			}
		}
		got, err := Choose(pools, taken, nth)
		if free == 0 {
			if !errdefs.IsResourceExhausted(err) {
				t.Fatalf("got %s, %v where nothing is free", got, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("%v, although %d are free", err, free)
		}
		if hit, yes := overlap(got, taken); yes {
			t.Fatalf("%s overlaps %s", got, hit)
		}
		in := func(p Pool) bool { return p.Base.Contains(got.Addr()) && got.Bits() == p.Size && got == got.Masked() }
		if !in(pools[0]) && !in(pools[1]) {
			t.Fatalf("%s is of no pool", got)
		}
	})
}

func TestChooseAvoidsWideRoutes(t *testing.T) {
	for _, c := range []struct {
		taken []string
		want  string
	}{
		{nil, "172.17.0.0/24"},
		{[]string{"172.17.0.0/16"}, "172.18.0.0/24"}, // Docker's own network
		{[]string{"172.16.0.0/12"}, "10.128.0.0/24"},
		{[]string{"172.16.0.0/12", "10.0.0.0/8"}, "192.168.0.0/24"},
		{[]string{"172.17.0.5/32", "172.17.1.0/25"}, "172.17.2.0/24"},
		{[]string{"172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16"}, ""},
	} {
		var taken []netip.Prefix
		for _, s := range c.taken {
			taken = append(taken, netip.MustParsePrefix(s))
		}
		got, err := Choose(DefaultPools(), taken, 0)
		if c.want == "" && !errdefs.IsResourceExhausted(err) || c.want != "" && got.String() != c.want {
			t.Errorf("besides %v: got %s, %v; want %q", c.taken, got, err, c.want)
		}
	}
	p := UniqueLocal([5]byte{1, 2, 3, 4, 5})
	if got, err := Choose([]Pool{p}, []netip.Prefix{netip.MustParsePrefix("fd01:203:405::/64")}, 0); got.String() != "fd01:203:405:1::/64" {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestNewSubnet(t *testing.T) {
	for _, c := range []struct {
		subnet, dynamic, gateway, aux string
		first, err                    string
	}{
		{subnet: "10.0.0.0/24", first: "10.0.0.2"},
		{subnet: "10.0.0.0/24", gateway: "10.0.0.254", first: "10.0.0.1"},
		{subnet: "10.0.0.0/24", aux: "10.0.0.2", first: "10.0.0.3"},
		{subnet: "10.0.0.0/16", dynamic: "10.0.5.0/24", first: "10.0.5.0"},
		{subnet: "10.0.0.0/31", first: "10.0.0.1"},
		{subnet: "fd00::/64", first: "fd00::2"},
		{subnet: "10.0.0.0/32", err: "cannot hold"},
		{subnet: "10.0.0.1/24", err: "write 10.0.0.0/24"},
		{subnet: "10.0.0.0/24", dynamic: "10.0.1.0/25", err: "not part"},
		{subnet: "10.0.0.0/24", dynamic: "10.0.0.0/16", err: "not part"},
		{subnet: "10.0.0.0/24", gateway: "10.0.1.1", err: "not part"},
		{subnet: "10.0.0.0/24", gateway: "10.0.0.255", err: "held by \"reserved\""},
		{subnet: "10.0.0.0/24", aux: "10.0.0.1", err: "held by \"gateway\""},
	} {
		prefix := func(s string) (p netip.Prefix) { p, _ = netip.ParsePrefix(s); return p }
		addr := func(s string) (a netip.Addr) { a, _ = netip.ParseAddr(s); return a }
		var aux []netip.Addr
		if c.aux != "" {
			aux = append(aux, addr(c.aux))
		}
		s, err := NewSubnet(prefix(c.subnet), prefix(c.dynamic), addr(c.gateway), aux...)
		if c.err != "" {
			if !errdefs.IsInvalidArgument(err) || !contains(err, c.err) {
				t.Errorf("%+v: got %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if got, err := s.Next("x"); got.String() != c.first {
			t.Errorf("%+v: first address %s, %v", c, got, err)
		}
	}
}

func contains(err error, part string) bool { return err != nil && strings.Contains(err.Error(), part) }
