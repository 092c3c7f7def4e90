package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/miekg/dns"
)

const bound = 10 * time.Second

func addrs(s ...string) (out []netip.Addr) {
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func testZone() *Zone {
	z := NewZone()
	z.SetNetwork("front", netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64"))
	z.SetNetwork("back", netip.MustParsePrefix("10.2.0.0/24"))
	z.Set("front", Record{ID: "w1", Names: []string{"web-1", "web"}, Addrs: addrs("10.1.0.2", "fd00:1::2")})
	z.Set("front", Record{ID: "w2", Names: []string{"web-2", "Web"}, Addrs: addrs("10.1.0.3", "fd00:1::3")})
	z.Set("front", Record{ID: "w3", Names: []string{"web-3", "web"}, Addrs: addrs("10.1.0.4", "fd00:1::4")})
	z.Set("back", Record{ID: "w1", Names: []string{"web-1", "web"}, Addrs: addrs("10.2.0.2")})
	z.Set("back", Record{ID: "d", Names: []string{"db-1", "db"}, Addrs: addrs("10.2.0.3")})
	for _, id := range []string{"w1", "w2", "d"} {
		z.SetLive(id, true)
	}
	return z
}

func TestLookup(t *testing.T) {
	z := testZone()
	for _, c := range []struct {
		self, networks, name string
		want                 string // sorted, "-" for not known
	}{
		{"d", "back", "web", "10.2.0.2"},
		{"d", "back", "WEB.", "10.2.0.2"},
		{"w1", "front,back", "db", "10.2.0.3"},
		{"w2", "front", "db", "-"},                                      // not on its network
		{"w1", "back,front", "web", "10.2.0.2"},                         // the first network that knows it
		{"w2", "front", "web", "10.1.0.2 10.1.0.3 fd00:1::2 fd00:1::3"}, // w3 is not live
		{"w2", "front", "web-3", ""},                                    // known, nobody there
		{"w3", "front", "web-3", "10.1.0.4 fd00:1::4"},                  // itself
		{"w1", "front,back", "web.back", "10.2.0.2"},
		{"w1", "front", "web.back", "-"},
		{"w1", "front", "web.example", "-"},
		{"w1", "", "web", "-"},
		{"w1", "front", "", "-"},
		{"w1", "front", ".", "-"},
	} {
		got, known := z.Lookup(View{ID: c.self, Networks: strings.FieldsFunc(c.networks, func(r rune) bool { return r == ',' })}, c.name)
		slices.SortFunc(got, netip.Addr.Compare)
		text := strings.Trim(fmt.Sprint(got), "[]")
		if !known {
			text = "-"
		}
		if text != c.want {
			t.Errorf("%s asks for %q on %s: got %s, want %s", c.self, c.name, c.networks, text, c.want)
		}
	}
}

func TestZoneForgets(t *testing.T) {
	z := testZone()
	z.Set("front", Record{ID: "w1", Names: []string{"other"}, Addrs: addrs("10.1.0.9")})
	if _, known := z.Lookup(View{ID: "w2", Networks: []string{"front"}}, "web-1"); known {
		t.Error("a replaced record's name is still known")
	}
	if got, _ := z.Lookup(View{ID: "w2", Networks: []string{"front"}}, "other"); !slices.Equal(got, addrs("10.1.0.9")) {
		t.Errorf("got %v for the new name", got)
	}
	z.Remove("front", "w1")
	z.SetLive("w2", false)
	if got, known := z.Lookup(View{ID: "x", Networks: []string{"front"}}, "web"); !known || len(got) != 0 {
		t.Errorf("got %v, known %v when nobody is live", got, known)
	}
	z.Remove("front", "w2")
	z.Remove("front", "w3")
	if _, known := z.Lookup(View{ID: "x", Networks: []string{"front"}}, "web"); known {
		t.Error("the name outlives its containers")
	}
	z.RemoveNetwork("back")
	if _, known := z.Lookup(View{ID: "x", Networks: []string{"back"}}, "db"); known {
		t.Error("the name outlives its network")
	}
}

func TestReplicasTakeTurns(t *testing.T) {
	z, first := testZone(), map[netip.Addr]bool{}
	for range 200 { // missing one of two: 1 in 2^199
		got, _ := z.Lookup(View{ID: "d", Networks: []string{"front"}}, "web")
		for _, a := range got {
			if a.Is4() {
				first[a] = true
				break
			}
		}
	}
	if len(first) != 2 {
		t.Errorf("first came %v, want both replicas", first)
	}
}

// served starts a resolver and returns its address.
func served(t *testing.T, view View) string {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := &Resolver{Zone: testZone(), Forward: NewForwarder(8), View: func() View { return view }}
	if err := r.Serve(udp, tcp); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return udp.LocalAddr().String()
}

// upstream is a server that answers by what f says, nil for silence.
func upstream(t *testing.T, f func(q *dns.Msg, proto string) *dns.Msg) Upstream {
	t.Helper()
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		proto, started := "udp", make(chan struct{})
		if s.Listener != nil {
			proto = "tcp"
		}
		s.NotifyStartedFunc = func() { close(started) }
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			if m := f(q, proto); m != nil {
				_ = w.WriteMsg(m)
			}
		})
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return Upstream{Addr: netip.MustParseAddrPort(udp.LocalAddr().String()), Dialer: &net.Dialer{}}
}

func query(t *testing.T, server, proto, name string, qtype uint16, change ...func(*dns.Msg)) *dns.Msg {
	t.Helper()
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	for _, f := range change {
		f(q)
	}
	m, _, err := (&dns.Client{Net: proto, Timeout: bound, UDPSize: 4096}).Exchange(q, server)
	if err != nil {
		t.Fatalf("%s %s: %v", name, dns.TypeToString[qtype], err)
	}
	if m.Id != q.Id || !m.Response || !m.RecursionAvailable {
		t.Fatalf("%s: not an answer to the question: %v", name, m)
	}
	return m
}

func answerTo(q *dns.Msg, text string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + text)
	if err != nil {
		panic(err)
	}
	m.RecursionAvailable, m.Answer = true, []dns.RR{rr}
	return m
}

func TestAnswers(t *testing.T) {
	up := upstream(t, func(q *dns.Msg, _ string) *dns.Msg {
		if strings.HasPrefix(q.Question[0].Name, "missing.") {
			m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
			m.RecursionAvailable = true
			return m
		}
		if q.Question[0].Qtype == dns.TypePTR {
			return answerTo(q, "PTR world.example.")
		}
		return answerTo(q, "TXT upstream")
	})
	for what, view := range map[string]View{
		"":        {ID: "w1", Networks: []string{"front", "back"}, Upstreams: []Upstream{up}},
		"alone: ": {ID: "w1", Networks: []string{"front", "back"}},
	} {
		server := served(t, view)
		for _, c := range []struct {
			name      string
			qtype     uint16
			code      int
			want      string
			codeAlone int
			wantAlone string
		}{
			{"db", dns.TypeA, 0, "10.2.0.3", 0, "10.2.0.3"},
			{"dB.BACK", dns.TypeA, 0, "10.2.0.3", 0, "10.2.0.3"},
			{"db", dns.TypeAAAA, 0, "", 0, ""}, // no such type: not an error
			{"db", dns.TypeMX, 0, "", 0, ""},
			{"web-2", dns.TypeAAAA, 0, "fd00:1::3", 0, "fd00:1::3"},
			{"web-3", dns.TypeA, dns.RcodeNameError, "", dns.RcodeNameError, ""}, // not live
			{"3.0.2.10.in-addr.arpa", dns.TypePTR, 0, "db-1.back.", 0, "db-1.back."},
			{"77.0.2.10.in-addr.arpa", dns.TypePTR, dns.RcodeNameError, "", dns.RcodeNameError, ""},
			{"3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa", dns.TypePTR, 0, "world.example.", dns.RcodeServerFailure, ""}, // malformed
			{dnsReverse("fd00:1::3"), dns.TypePTR, 0, "web-2.front.", 0, "web-2.front."},
			{dnsReverse("9.9.9.9"), dns.TypePTR, 0, "world.example.", dns.RcodeServerFailure, ""},
			{"example.com", dns.TypeTXT, 0, `"upstream"`, dns.RcodeServerFailure, ""},
			{"missing.example.com", dns.TypeA, dns.RcodeNameError, "", dns.RcodeServerFailure, ""},
			{"nobody", dns.TypeTXT, 0, `"upstream"`, dns.RcodeNameError, ""},
		} {
			code, want := c.code, c.want
			if view.Upstreams == nil {
				code, want = c.codeAlone, c.wantAlone
			}
			for _, proto := range []string{"udp", "tcp"} {
				m := query(t, server, proto, c.name, c.qtype)
				got := ""
				for _, rr := range m.Answer {
					got += strings.TrimPrefix(rr.String(), rr.Header().String())
				}
				if m.Rcode != code || got != want {
					t.Errorf("%s%s %s: %s %q, want %s %q", what, c.name, dns.TypeToString[c.qtype],
						dns.RcodeToString[m.Rcode], got, dns.RcodeToString[code], want)
				}
			}
		}
	}
}

func dnsReverse(a string) string {
	name, err := dns.ReverseAddr(a)
	if err != nil {
		panic(err)
	}
	return strings.TrimSuffix(name, ".")
}

func TestForwardKeepsOptionsAndFetchesWhatIsTruncated(t *testing.T) {
	var asked atomic.Pointer[dns.Msg]
	up := upstream(t, func(q *dns.Msg, proto string) *dns.Msg {
		asked.Store(q.Copy())
		m := answerTo(q, "TXT one")
		if proto == "udp" {
			m.Answer, m.Truncated = nil, true
			return m
		}
		for i := range 40 {
			rr, _ := dns.NewRR(fmt.Sprintf("%s 60 IN TXT \"record number %d, with some text to make it long\"", q.Question[0].Name, i))
			m.Answer = append(m.Answer, rr)
		}
		return m
	})
	server := served(t, View{ID: "d", Upstreams: []Upstream{up}})
	edns := func(q *dns.Msg) {
		q.SetEdns0(4096, true)
		q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"})
	}
	m := query(t, server, "udp", "big.example", dns.TypeTXT, edns)
	if m.Truncated || len(m.Answer) != 41 {
		t.Errorf("got %d records, truncated %v; want all 41 in 4096 bytes", len(m.Answer), m.Truncated)
	}
	opt := asked.Load().IsEdns0()
	if opt == nil || !opt.Do() || opt.UDPSize() != 4096 || len(opt.Option) != 1 {
		t.Errorf("upstream saw the options %v", opt)
	}
	m = query(t, server, "udp", "big.example", dns.TypeTXT)
	m.Compress = true // as it was on the wire
	if !m.Truncated || m.Len() > dns.MinMsgSize {
		t.Errorf("got %d bytes, truncated %v; a client without EDNS takes 512", m.Len(), m.Truncated)
	}
	if m = query(t, server, "tcp", "big.example", dns.TypeTXT); len(m.Answer) != 41 {
		t.Errorf("got %d records by TCP", len(m.Answer))
	}
}

func TestForwardAsksTheNextServer(t *testing.T) {
	silent := upstream(t, func(*dns.Msg, string) *dns.Msg { return nil })
	broken := upstream(t, func(q *dns.Msg, _ string) *dns.Msg { return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure) })
	liar := upstream(t, func(q *dns.Msg, _ string) *dns.Msg { // answers what nobody asked
		m := answerTo(q, "TXT wrong")
		m.Id++
		return m
	})
	good := upstream(t, func(q *dns.Msg, _ string) *dns.Msg { return answerTo(q, "TXT good") })
	gone := Upstream{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Dialer: &net.Dialer{}}
	for what, servers := range map[string][]Upstream{
		"silent": {silent, good}, "broken": {broken, good}, "liar": {liar, good}, "gone": {gone, good}, "all": {silent, gone, broken, good},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			m := query(t, served(t, View{Upstreams: servers}), "udp", "example.com", dns.TypeTXT)
			if len(m.Answer) != 1 || !strings.Contains(m.Answer[0].String(), "good") {
				t.Errorf("got %v", m)
			}
		})
	}
	t.Run("only broken ones", func(t *testing.T) {
		t.Parallel()
		if m := query(t, served(t, View{Upstreams: []Upstream{gone, broken}}), "udp", "example.com", dns.TypeTXT); m.Rcode != dns.RcodeServerFailure {
			t.Errorf("got %v", m)
		}
	})
}

func TestForwardIsBounded(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := upstream(t, func(*dns.Msg, string) *dns.Msg { asked <- struct{}{}; return nil })
	f := NewForwarder(1)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	q := new(dns.Msg).SetQuestion("example.com.", dns.TypeA)
	go func() {
		_, err := f.Exchange(ctx, []Upstream{silent}, "udp", q)
		ended <- err
	}()
	<-asked
	if _, err := f.Exchange(context.Background(), []Upstream{silent}, "udp", q); !errdefs.IsUnavailable(err) {
		t.Errorf("a second question got %v", err)
	}
	cancel()
	select {
	case err := <-ended:
		if !errdefs.IsUnavailable(err) {
			t.Errorf("a cancelled question got %v", err)
		}
	case <-time.After(bound):
		t.Error("a cancelled question goes on")
	}
}
