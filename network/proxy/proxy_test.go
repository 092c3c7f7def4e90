package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const bound = 10 * time.Second

func listen(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout(network, address, bound)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(bound))
	return c
}

func to(a net.Addr) Target {
	p := netip.MustParseAddrPort(a.String())
	return func() netip.AddrPort { return p }
}

// A client that has said all may still hear the answer, of any size.
func TestTCPCarriesBothDirections(t *testing.T) {
	server := listen(t, "127.0.0.1:0")
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		all, _ := io.ReadAll(c) // until the client's half is closed
		_, _ = c.Write(all)
		_, _ = c.Write(all)
	}()
	front := listen(t, "[::1]:0")
	p := TCP(front, to(server.Addr()))
	c := dial(t, "tcp", front.Addr().String())
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = c.Write(data)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append(data, data...)) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, 2*len(data))
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.DialTimeout("tcp", front.Addr().String(), bound); err == nil {
		t.Error("a closed proxy listens")
	}
}

func TestTCPResetsWhenNobodyListens(t *testing.T) {
	gone := listen(t, "127.0.0.1:0")
	target := to(gone.Addr())
	gone.Close()
	front := listen(t, "127.0.0.1:0")
	p := TCP(front, target)
	defer p.Close()
	c, err := net.DialTimeout("tcp", front.Addr().String(), bound)
	if err == nil { // else it came that soon
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(bound))
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	server := listen(t, "127.0.0.1:0")
	front := listen(t, "127.0.0.1:0")
	p := TCP(front, to(server.Addr()))
	c := dial(t, "tcp", front.Addr().String())
	s, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(bound):
		t.Fatal("Close hangs while a connection is open")
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}

// Answers come from the address that the client wrote to, to the client that
// asked.
func TestUDPKeepsClientsApart(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(append([]byte("re: "), buf[:n]...), from)
		}
	}()
	for _, c := range []struct{ listen, dial string }{{"0.0.0.0", "127.0.0.5"}, {"::", "::1"}} {
		network := "udp4"
		if c.listen == "::" {
			network = "udp6"
		}
		front, err := net.ListenPacket(network, net.JoinHostPort(c.listen, "0"))
		if err != nil {
			t.Fatal(err)
		}
		p := UDP(front.(*net.UDPConn), to(server.LocalAddr()))
		_, port, _ := net.SplitHostPort(front.LocalAddr().String())
		one, two := dial(t, "udp", net.JoinHostPort(c.dial, port)), dial(t, "udp", net.JoinHostPort(c.dial, port))
		for _, x := range []struct {
			net.Conn
			text string
		}{{one, "one"}, {two, "two"}, {one, "three"}} {
			if _, err := x.Write([]byte(x.text)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 100)
			n, err := x.Read(buf) // a connected socket takes answers from that address only
			if err != nil || string(buf[:n]) != "re: "+x.text {
				t.Errorf("%s: got %q, %v", x.text, buf[:n], err)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
