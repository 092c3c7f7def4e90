package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/miekg/dns"
)

const (
	hedge   = 1 * time.Second // then the next server is asked too
	answer  = 4 * time.Second // clients give up after five
	maxSize = 65535
)

// Dialer opens a connection to a server: with net.Dialer, or from within a
// network namespace.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Upstream is a server that knows the rest of the world.
type Upstream struct {
	Addr netip.AddrPort
	Dialer
}

// Forwarder passes questions on. The zero value is not usable.
type Forwarder struct {
	places chan struct{} // one per question under way
	bufs   sync.Pool
}

// NewForwarder lets at most limit questions be under way.
func NewForwarder(limit int) *Forwarder {
	return &Forwarder{places: make(chan struct{}, limit), bufs: sync.Pool{New: func() any { b := make([]byte, maxSize); return &b }}}
}

// Exchange asks the servers in their order: the next one as soon as one fails,
// or keeps silent for a second. The first answer that settles the question
// wins. proto is "udp" or "tcp"; a truncated answer is asked for again by TCP.
// The error is errdefs.ErrUnavailable.
func (f *Forwarder) Exchange(ctx context.Context, servers []Upstream, proto string, q *dns.Msg) (*dns.Msg, error) {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	default:
		return nil, fmt.Errorf("too many DNS questions are under way: %w", errdefs.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	type result struct {
		msg *dns.Msg
		err error
	}
	results := make(chan result, len(servers))
	next, waiting := 0, 0
	ask := func() {
		if next < len(servers) {
			server := servers[next]
			next, waiting = next+1, waiting+1
			go func() {
				m, err := f.one(ctx, server, proto, q)
				results <- result{m, err}
			}()
		}
	}
	ask()
	timer := time.NewTimer(hedge)
	defer timer.Stop()
	var second *dns.Msg // an answer that settles nothing, better than none
	err := errors.New("no DNS server is known")
	for waiting > 0 {
		select {
		case r := <-results:
			waiting--
			if r.err == nil && settles(r.msg) {
				return r.msg, nil
			}
			if r.err == nil {
				second = r.msg
			} else {
				err = r.err
			}
			ask()
		case <-timer.C:
			ask()
			timer.Reset(hedge)
		}
	}
	if second != nil {
		return second, nil
	}
	return nil, fmt.Errorf("%w: %w", errdefs.ErrUnavailable, err)
}

func settles(m *dns.Msg) bool {
	switch m.Rcode {
	case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
		return false
	}
	return true
}

func (f *Forwarder) one(ctx context.Context, server Upstream, proto string, q *dns.Msg) (*dns.Msg, error) {
	m, err := f.ask(ctx, server, proto, q)
	if err == nil && m.Truncated && proto == "udp" {
		if full, err := f.ask(ctx, server, "tcp", q); err == nil {
			return full, nil
		}
	}
	return m, err
}

// ask sends q with an ID of its own from a port of its own (RFC 5452).
func (f *Forwarder) ask(ctx context.Context, server Upstream, proto string, q *dns.Msg) (*dns.Msg, error) {
	conn, err := server.DialContext(ctx, proto, server.Addr.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	out := *q
	out.Id = dns.Id()
	c := &dns.Conn{Conn: conn}
	if err := c.WriteMsg(&out); err != nil {
		return nil, err
	}
	buf := f.bufs.Get().(*[]byte)
	defer f.bufs.Put(buf)
	for {
		n, err := c.Read(*buf)
		if err != nil {
			return nil, err
		}
		m := new(dns.Msg)
		if err := m.Unpack((*buf)[:n]); err != nil {
			if proto == "tcp" {
				return nil, fmt.Errorf("DNS server %s: %w", server.Addr, err)
			}
			continue // not worth more than somebody's guess
		}
		if m.Id == out.Id && m.Response && sameQuestion(m, q) {
			m.Id = q.Id
			return m, nil
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, os.ErrDeadlineExceeded
		}
	}
}

func sameQuestion(a, b *dns.Msg) bool {
	if len(a.Question) == 0 { // servers that fail early may leave it out
		return !settles(a)
	}
	x, y := a.Question[0], b.Question[0]
	return x.Qtype == y.Qtype && x.Qclass == y.Qclass && canonical(x.Name) == canonical(y.Name)
}
