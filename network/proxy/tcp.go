// Package proxy carries connections that the packet filter cannot translate:
// to [::1], over IPv6 to containers that have IPv4 only, and all of them when
// somebody flushed the host's rules. Its sockets also reserve the ports.
package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// dialTimeout bounds the connection to a container; it is on this host.
const dialTimeout = 10 * time.Second

// Target tells where connections go, invalid for nowhere.
type Target func() netip.AddrPort

// Proxy serves one socket.
type Proxy struct {
	ctx    context.Context
	cancel context.CancelFunc
	close  func() error
	done   sync.WaitGroup
}

func start(close func() error) *Proxy {
	p := &Proxy{close: close}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close stops listening and ends all connections.
func (p *Proxy) Close() error {
	p.cancel()
	err := p.close()
	p.done.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// TCP serves a listening socket until Close.
func TCP(l *net.TCPListener, target Target) *Proxy {
	p := start(l.Close)
	p.done.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if errors.Is(err, net.ErrClosed) || p.ctx.Err() != nil {
				return
			}
			if err != nil { // out of file descriptors: connections wait in the backlog
				select {
				case <-p.ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
				continue
			}
			p.done.Go(func() { p.carry(c, target()) })
		}
	})
	return p
}

func (p *Proxy) carry(client *net.TCPConn, to netip.AddrPort) {
	defer client.Close()
	var d net.Dialer
	ctx, cancel := context.WithTimeout(p.ctx, dialTimeout)
	defer cancel()
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		_ = client.SetLinger(0) // a reset says "nobody there", an end of file would not
		return
	}
	server := conn.(*net.TCPConn)
	defer server.Close()
	stop := context.AfterFunc(p.ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	back := make(chan struct{})
	go func() {
		defer close(back)
		copyHalf(client, server)
	}()
	copyHalf(server, client)
	<-back
}

// copyHalf copies one direction and hands its end on.
func copyHalf(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	_ = to.CloseWrite()
}
