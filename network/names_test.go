package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"github.com/moby/moby/api/types/network"
)

// resolve asks at 127.0.0.11 and gives code, "" for success, and answers.
func (c *container) resolve(proto, name string, qtype uint16) (code string, answers []string) {
	c.Helper()
	c.inside(func() error {
		m, _, err := (&dns.Client{Net: proto, Timeout: bound}).Exchange(new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype), "127.0.0.11:53")
		if err != nil {
			return fmt.Errorf("%s %s: %w", proto, name, err)
		}
		if m.Rcode != 0 {
			code = dns.RcodeToString[m.Rcode]
		}
		for _, rr := range m.Answer {
			answers = append(answers, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		return nil
	})
	slices.Sort(answers)
	return code, answers
}

// dnsExchange asks for A records of a name over an open connection.
func dnsExchange(conn net.Conn, name string, want netip.Addr) error {
	m, _, err := (&dns.Client{Timeout: bound}).ExchangeWithConn(new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), &dns.Conn{Conn: conn})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != want.String() {
		return fmt.Errorf("%s: got %v, want %s", name, m.Answer, want)
	}
	return nil
}

func (c *container) finds(name string, want ...netip.Addr) {
	c.Helper()
	var texts []string
	for _, a := range want {
		texts = append(texts, a.String())
	}
	slices.Sort(texts)
	for _, proto := range []string{"udp", "tcp"} {
		if code, got := c.resolve(proto, name, dns.TypeA); code != "" || !slices.Equal(got, texts) {
			c.Errorf("%s %q: %s %v, want %v", proto, name, code, got, texts)
		}
	}
}

func (c *container) findsNot(name string) {
	c.Helper()
	if code, got := c.resolve("udp", name, dns.TypeA); code != "NXDOMAIN" {
		c.Errorf("%q: %s %v, want NXDOMAIN", name, code, got)
	}
}

// upstreamDNS is a server that answers TXT by its name and otherwise NXDOMAIN.
func upstreamDNS(t *testing.T, address, name string) error {
	pc, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, NotifyStartedFunc: func() { close(started) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		if q.Question[0].Qtype == dns.TypeTXT {
			m.Rcode = dns.RcodeSuccess
			m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{name}}}
		}
		_ = w.WriteMsg(m)
	})}
	go s.ActivateAndServe()
	<-started
	t.Cleanup(func() { _ = s.Shutdown() })
	return nil
}

func TestNamesOfContainers(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	first := netip.AddrFrom4([4]byte{127, byte(os.Getpid() >> 8), byte(os.Getpid()), 1}) // ours, also beside other runs
	mustWrite(t, conf, fmt.Sprintf("nameserver %s\n", first))
	w := newWorldWith(t, func(cfg *Config) { cfg.ResolvConf = conf })
	w.must(upstreamDNS(t, hostPort(first, 53), "first"))
	w.network("front", network.CreateRequest{})
	w.network("back", network.CreateRequest{EnableIPv6: yes()})
	w.network("inner", network.CreateRequest{Internal: true})
	web1 := w.container("web-1", Endpoint{Network: "front", Aliases: []string{"web", "www"}}, Endpoint{Network: "back", Aliases: []string{"web"}})
	web2 := w.container("web-2", Endpoint{Network: "front", Aliases: []string{"web"}})
	db := w.container("db-1", Endpoint{Network: "back", Aliases: []string{"db"}})
	lone := w.container("lone", Endpoint{Network: "inner"})

	web2.finds("web", web1.addr("front"), web2.addr("front"))
	web2.finds("www", web1.addr("front"))
	web2.finds("web-1", web1.addr("front"))
	web2.finds(web1.id[:12], web1.addr("front"))
	web2.findsNot("db")
	db.finds("web", web1.addr("back"))
	web1.finds("db", db.addr("back"))
	web1.finds("db.back", db.addr("back"))
	if code, got := web1.resolve("udp", "db", dns.TypeAAAA); code != "" || !slices.Equal(got, []string{db.as[0].IPv6.Addr().String()}) {
		t.Errorf("AAAA of db: %s %v, want %s", code, got, db.as[0].IPv6.Addr())
	}
	if code, got := web2.resolve("udp", "web", dns.TypeAAAA); code != "" || len(got) != 0 {
		t.Errorf("AAAA of web, which has IPv4 only: %s %v, want success without an answer", code, got)
	}
	for _, a := range []netip.Addr{db.addr("back"), db.as[0].IPv6.Addr()} {
		reverse, _ := dns.ReverseAddr(a.String())
		if code, got := web1.resolve("udp", reverse, dns.TypePTR); code != "" || !slices.Equal(got, []string{"db-1.back."}) {
			t.Errorf("PTR of %s: %s %v", a, code, got)
		}
	}

	w.SetLive(web1.id, false)
	web2.finds("web", web2.addr("front"))
	web2.findsNot("www")
	web1.finds("www", web1.addr("front")) // itself
	w.SetLive(web1.id, true)
	w.must(w.SetNames(web1.id, "front", []string{"renamed"}))
	web2.finds("renamed", web1.addr("front"))
	web2.findsNot("www")
	w.must(w.Release(w.ctx(), web1.id))
	web2.findsNot("renamed")

	upstream := func(c *container, wantCode, want string) {
		t.Helper()
		for _, proto := range []string{"udp"} {
			if code, got := c.resolve(proto, "example.com", dns.TypeTXT); code != wantCode || strings.Join(got, "") != want {
				t.Errorf("forwarded: %s %v, want %s %s", code, got, wantCode, want)
			}
		}
	}
	upstream(web2, "", `"first"`)
	upstream(lone, "SERVFAIL", "") // nothing leaves an internal network
	lone.findsNot("nobody")

	w.must(upstreamDNS(t, hostPort(first.Next(), 53), "second"))
	mustWrite(t, conf, fmt.Sprintf("search example.org\nnameserver %s\n", first.Next()))
	upstream(web2, "", `"second"`)

	// its own server, which only it can reach
	r, err := w.Ensure(w.ctx(), Sandbox{ID: web2.id, Endpoints: []Endpoint{{Network: "front", Aliases: []string{"web-2"}}}, DNS: DNS{Servers: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}})
	w.must(err)
	if !r.EmbeddedDNS {
		t.Error("no name service on a network with names")
	}
	// at port 53 of all its addresses: ours does not stand in the way
	web2.inside(func() error { return upstreamDNS(t, "0.0.0.0:53", "its own") })
	upstream(web2, "", `"its own"`)
	web2.finds("web-2", web2.addr("front"))
}

func TestNoNamesOnTheDefaultNetwork(t *testing.T) {
	w := newWorld(t)
	r, err := w.Ensure(w.ctx(), Sandbox{ID: digest(w.cfg.Instance, "a"), Endpoints: []Endpoint{{Network: DefaultName, Aliases: []string{"a"}}}})
	w.must(err)
	if r.EmbeddedDNS || len(r.Endpoints[0].Names) != 0 {
		t.Errorf("got %+v", r)
	}
	r, err = w.Ensure(w.ctx(), Sandbox{ID: digest(w.cfg.Instance, "b")}) // network_mode: none
	w.must(err)
	if r.EmbeddedDNS || len(r.Endpoints) != 0 {
		t.Errorf("got %+v", r)
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestResolvConf(t *testing.T) {
	host := "# comment\ndomain old.example\nsearch one.example two.example\nnameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions edns0 trust-ad\n"
	own := DNS{Servers: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Search: []string{"own.example"}, Options: []string{"ndots:2"}}
	for _, c := range []struct {
		what string
		mode ResolvMode
		dns  DNS
		host string
		want string
	}{
		{"embedded", ResolvEmbedded, DNS{}, host, "nameserver 127.0.0.11\nsearch one.example two.example\noptions edns0 trust-ad ndots:0\n"},
		{"embedded, own", ResolvEmbedded, own, host, "nameserver 127.0.0.11\nsearch own.example\noptions ndots:2\n"},
		{"embedded, no host file", ResolvEmbedded, DNS{}, "", "nameserver 127.0.0.11\noptions ndots:0\n"},
		{"no search", ResolvEmbedded, DNS{Search: []string{"."}}, host, "nameserver 127.0.0.11\noptions edns0 trust-ad ndots:0\n"},
		{"copy", ResolvCopy, DNS{}, host, "nameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch one.example two.example\noptions edns0 trust-ad\n"},
		{"copy, own", ResolvCopy, own, host, "nameserver 198.51.100.1\nsearch own.example\noptions ndots:2\n"},
		{"host, own", ResolvHost, DNS{Search: []string{"x"}}, host, "nameserver 127.0.0.53\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\nsearch x\noptions edns0 trust-ad\n"},
	} {
		if got := string(ResolvConf(c.mode, []byte(c.host), c.dns)); got != "# made by gantry\n"+c.want {
			t.Errorf("%s: got\n%swant\n%s", c.what, got, c.want)
		}
	}
	if got := string(ResolvConf(ResolvHost, []byte(host), DNS{})); got != host {
		t.Errorf("host: got\n%s", got)
	}
}

func TestHostsFile(t *testing.T) {
	ip := netip.MustParseAddr
	got, err := HostsFile("web", "example.org", []netip.Addr{ip("10.0.0.2"), {}, ip("fd00::2")},
		[]string{"db:10.0.0.9", "six:::1", "six2=[fd00::9]", "gw:host-gateway"}, []netip.Addr{ip("10.0.0.1"), ip("fd00::1")})
	if err != nil {
		t.Fatal(err)
	}
	const want = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n" +
		"10.0.0.9\tdb\n::1\tsix\nfd00::9\tsix2\n10.0.0.1\tgw\nfd00::1\tgw\n10.0.0.2\tweb.example.org web\nfd00::2\tweb.example.org web\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, bad := range []string{"db", ":10.0.0.1", "db:nowhere", "gw:host-gateway"} {
		if _, err := HostsFile("web", "", nil, []string{bad}, nil); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
