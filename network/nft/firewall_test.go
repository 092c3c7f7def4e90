package nft

import (
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// What a daemon finds in the kernel's maps is what the one before it put there.
func TestElementsReadBackAsTheyWereWritten(t *testing.T) {
	f := New("test")
	rapid.Check(t, func(t *rapid.T) {
		addr := func(label string, v4 bool) netip.Addr {
			n := 16
			if v4 {
				n = 4
			}
			a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label))
			return a
		}
		v4 := rapid.Bool().Draw(t, "IPv4")
		front := Frontend{IP: addr("host", v4), Proto: rapid.SampledFrom([]uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP}).Draw(t, "protocol"), Port: rapid.Uint16().Draw(t, "port")}
		to := netip.AddrPortFrom(addr("container", v4), rapid.Uint16().Draw(t, "container's port"))
		set := f.publishSet(front)
		if len(front.key()) != int(set.KeyType.Bytes) || len(value(to)) != int(set.DataType.Bytes) {
			t.Fatalf("map %q takes %d and %d bytes, has %d and %d", set.Name, set.KeyType.Bytes, set.DataType.Bytes, len(front.key()), len(value(to)))
		}
		gotFront, gotTo, ok := decode(set.Name, nftables.SetElement{Key: front.key(), Val: value(to)})
		if !ok || gotFront != front || gotTo != to {
			t.Fatalf("%v to %v came back as %v to %v, %v", front, to, gotFront, gotTo, ok)
		}
	})
}

func TestDecodeOfForeignElements(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { // must not panic
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 40)
		decode(rapid.SampledFrom(setNames[:]).Draw(t, "set"), nftables.SetElement{Key: bytes.Draw(t, "key"), Val: bytes.Draw(t, "value")})
		comment(bytes.Draw(t, "user data"))
	})
}

func TestComment(t *testing.T) {
	for udata, want := range map[string]string{
		"":                        "",
		"\x00\x03ab\x00":          "ab",
		"\x01\x01x\x00\x03ab\x00": "ab", // after another attribute
		"\x00\x09ab":              "",   // cut off
		"\x00":                    "",
	} {
		if got := comment([]byte(udata)); got != want {
			t.Errorf("%q: got %q, want %q", udata, got, want)
		}
	}
}
