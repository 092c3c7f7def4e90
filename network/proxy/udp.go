package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	flowIdle = 90 * time.Second // as the kernel's connection tracking, roughly
	flowMax  = 1024             // per socket
)

var packets = sync.Pool{New: func() any { b := make([]byte, 65535); return &b }}

// flow is one client of a UDP socket: who it is and which address of ours it
// talked to, which answers must come from.
type flow struct {
	client netip.AddrPort
	local  string // control message of the client's packet
}

// UDP serves a bound socket until Close.
func UDP(c *net.UDPConn, target Target) *Proxy {
	p := start(c.Close)
	wantLocalAddress(c)
	u := &udp{Proxy: p, conn: c, flows: map[flow]net.Conn{}}
	p.done.Go(func() { u.serve(target) })
	return p
}

type udp struct {
	*Proxy
	conn  *net.UDPConn
	mu    sync.Mutex
	flows map[flow]net.Conn
}

func (u *udp) serve(target Target) {
	raw, err := u.conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		// Wait without a buffer: a published port at rest costs nothing.
		if err := raw.Read(func(fd uintptr) bool { return readable(int(fd)) }); err != nil || u.ctx.Err() != nil {
			return
		}
		u.receive(target)
	}
}

func (u *udp) receive(target Target) {
	buf := packets.Get().(*[]byte)
	defer packets.Put(buf)
	var oob [64]byte
	n, on, _, from, err := u.conn.ReadMsgUDPAddrPort(*buf, oob[:])
	if err != nil {
		return
	}
	f := flow{client: from, local: string(oob[:on])}
	u.mu.Lock()
	conn := u.flows[f]
	u.mu.Unlock()
	if conn == nil {
		if conn = u.open(f, target()); conn == nil {
			return
		}
	}
	_, _ = conn.Write((*buf)[:n]) // UDP promises nothing
}

func (u *udp) open(f flow, to netip.AddrPort) net.Conn {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.flows) >= flowMax || u.ctx.Err() != nil {
		return nil
	}
	conn, err := net.Dial("udp", to.String())
	if err != nil {
		return nil
	}
	u.flows[f] = conn
	u.done.Go(func() { u.back(f, conn) })
	return conn
}

// back carries a container's answers to one client until it is silent.
func (u *udp) back(f flow, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(u.ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.flows, f)
	}()
	buf := packets.Get().(*[]byte)
	defer packets.Put(buf)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(flowIdle))
		n, err := conn.Read(*buf)
		if errors.Is(err, unix.ECONNREFUSED) {
			continue // not listening yet; the client may try again
		}
		if err != nil {
			return
		}
		if _, _, err := u.conn.WriteMsgUDPAddrPort((*buf)[:n], []byte(f.local), f.client); err != nil && u.ctx.Err() != nil {
			return
		}
	}
}

// wantLocalAddress makes the kernel say with each packet which address it was
// sent to, in the form in which answers can be told to leave from it.
func wantLocalAddress(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
}

func readable(fd int) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return !errors.Is(err, unix.EAGAIN)
}
