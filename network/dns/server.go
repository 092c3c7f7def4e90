package dns

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// ttl is short: a replica that went is not asked for long (seconds).
const ttl = 5

// View is what one container may see.
type View struct {
	ID        string
	Networks  []string                     // in the order in which names are looked up
	Links     map[string]map[string]string // by network: further names of names there, for this container alone
	Upstreams []Upstream                   // nil: nothing is passed on
}

// Resolver answers one container's questions.
type Resolver struct {
	Zone    *Zone
	Forward *Forwarder
	View    func() View // asked for each question

	servers []*dns.Server
	stopped sync.WaitGroup
	ctx     context.Context
	cancel  context.CancelFunc
}

// Serve answers at both sockets until Close, which closes them.
func (r *Resolver) Serve(udp net.PacketConn, tcp net.Listener) error {
	r.ctx, r.cancel = context.WithCancel(context.Background())
	// The library wakes up a UDP server at each read timeout: make that rare.
	for _, s := range []*dns.Server{{PacketConn: udp, ReadTimeout: 24 * time.Hour}, {Listener: tcp}} {
		proto := "udp"
		if s.Listener != nil {
			proto = "tcp"
		}
		ready := make(chan error, 2)
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { r.handle(w, q, proto) })
		s.NotifyStartedFunc = func() { ready <- nil }
		r.stopped.Go(func() { ready <- s.ActivateAndServe() })
		if err := <-ready; err != nil {
			r.Close()
			_, _ = udp.Close(), tcp.Close()
			return fmt.Errorf("DNS server: %w", err)
		}
		r.servers = append(r.servers, s)
	}
	return nil
}

// Close stops answering. Questions under way end without an answer.
func (r *Resolver) Close() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	for _, s := range r.servers {
		_ = s.Shutdown() // waits for handlers: they see the context end
	}
	r.stopped.Wait()
}

func (r *Resolver) handle(w dns.ResponseWriter, q *dns.Msg, proto string) {
	m := r.reply(q, proto)
	size := dns.MaxMsgSize
	if proto == "udp" {
		size = dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
	}
	m.Compress = true
	m.Truncate(size)
	_ = w.WriteMsg(m) // a client that has gone needs no answer
}

// reply decides who answers: RFC 1035, and RFC 2308 for "no such name"
// (NXDOMAIN) against "no such type" (no error, no answer).
func (r *Resolver) reply(q *dns.Msg, proto string) *dns.Msg {
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return failure(q, dns.RcodeNotImplemented)
	}
	question, view := q.Question[0], r.View()
	if question.Qclass == dns.ClassINET {
		if m := r.own(q, question, view); m != nil {
			return m
		}
	}
	if len(view.Upstreams) == 0 {
		if strings.Count(question.Name, ".") < 2 {
			return failure(q, dns.RcodeNameError) // a plain name that is no container's
		}
		return failure(q, dns.RcodeServerFailure)
	}
	m, err := r.Forward.Exchange(r.ctx, view.Upstreams, proto, q)
	if err != nil {
		return failure(q, dns.RcodeServerFailure)
	}
	m.RecursionAvailable = true // here it is, whatever that server offers
	return m
}

// own answers for containers, nil when the question is not about one.
func (r *Resolver) own(q *dns.Msg, question dns.Question, view View) *dns.Msg {
	if question.Qtype == dns.TypePTR {
		addr, ok := reverse(question.Name)
		if !ok {
			return nil
		}
		name, local := r.Zone.Reverse(view.ID, view.Networks, addr)
		switch {
		case name != "":
			return success(q, &dns.PTR{Hdr: header(question), Ptr: name + "."})
		case local:
			return failure(q, dns.RcodeNameError)
		}
		return nil
	}
	addrs, known := r.Zone.Lookup(view, question.Name)
	switch {
	case !known:
		return nil
	case len(addrs) == 0:
		return failure(q, dns.RcodeNameError)
	}
	var rrs []dns.RR
	for _, a := range addrs {
		switch {
		case question.Qtype == dns.TypeA && a.Is4():
			rrs = append(rrs, &dns.A{Hdr: header(question), A: a.AsSlice()})
		case question.Qtype == dns.TypeAAAA && a.Is6():
			rrs = append(rrs, &dns.AAAA{Hdr: header(question), AAAA: a.AsSlice()})
		}
	}
	return success(q, rrs...)
}

func header(q dns.Question) dns.RR_Header {
	return dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
}

func success(q *dns.Msg, rrs ...dns.RR) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	m.Answer = rrs
	return edns(q, m)
}

func failure(q *dns.Msg, code int) *dns.Msg {
	m := new(dns.Msg).SetRcode(q, code)
	m.RecursionAvailable = true
	return edns(q, m)
}

// edns answers a question with options by options (RFC 6891 7).
func edns(q, m *dns.Msg) *dns.Msg {
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(opt.UDPSize(), opt.Do())
	}
	return m
}

// reverse reads the address out of a name below in-addr.arpa or ip6.arpa.
func reverse(name string) (netip.Addr, bool) {
	name = canonical(name)
	var text string
	if s, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		p := strings.Split(s, ".")
		if len(p) != 4 {
			return netip.Addr{}, false
		}
		text = p[3] + "." + p[2] + "." + p[1] + "." + p[0]
	} else if s, ok := strings.CutSuffix(name, ".ip6.arpa"); ok {
		if len(s) != 63 {
			return netip.Addr{}, false
		}
		var b strings.Builder
		for i := 62; i >= 0; i -= 2 {
			b.WriteByte(s[i])
			if i%8 == 0 && i > 0 {
				b.WriteByte(':')
			}
		}
		text = b.String()
	}
	a, err := netip.ParseAddr(text)
	return a, err == nil
}
