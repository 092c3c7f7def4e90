package network

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
)

func (w *world) publish(c *container, ports ...Port) []Port {
	w.Helper()
	got, err := w.Publish(w.ctx(), c.id, ports)
	w.must(err)
	return got
}

func TestPublishedPortIsReachedFromEverywhere(t *testing.T) {
	for name, v6 := range map[string]*bool{"IPv4": nil, "dual stack": yes()} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := w.outside()
			w.network("front", network.CreateRequest{EnableIPv6: v6})
			w.network("back", network.CreateRequest{})
			a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
			c := w.container("c", Endpoint{Network: "back"})
			b.serve(80, "b")
			got := w.publish(b, Port{ContainerPort: 80}, Port{ContainerPort: 80, Proto: "udp"})
			for _, p := range got {
				if p.HostPort == 0 || len(p.Bound) != 2 {
					t.Fatalf("published as %+v, want a port in both families", p)
				}
				for _, ip := range []string{o.host.String(), o.host6.String()} {
					at := hostPort(ip, p.HostPort)
					o.reaches("b", p.Proto, at)
					w.answered("b", p.Proto, at)
					if v6 != nil || ip == o.host.String() { // else they have no way there
						a.reaches("b", p.Proto, at)
						b.reaches("b", p.Proto, at) // itself, through the host
					}
				}
				c.reaches("b", p.Proto, hostPort(o.host, p.HostPort)) // from another network
				c.reaches("b", p.Proto, hostPort(c.as[0].Gateway4, p.HostPort))
				w.answered("b", p.Proto, hostPort("127.0.0.1", p.HostPort))
				w.answered("b", p.Proto, hostPort("::1", p.HostPort))
			}
			if peer := o.reaches("b", "tcp", hostPort(o.host, got[0].HostPort)); unmap(peer) != o.self {
				t.Errorf("b sees %s, want the true %s", peer, o.self)
			}
			w.must(w.Unpublish(w.ctx(), b.id))
			for _, p := range got {
				o.unreachable(p.Proto, hostPort(o.host, p.HostPort))
				if _, _, err := ask("tcp", hostPort("127.0.0.1", p.HostPort)); err == nil {
					t.Errorf("port %d still answers", p.HostPort)
				}
			}
		})
	}
}

func TestPublishOnOneAddress(t *testing.T) {
	w := newWorld(t)
	o := w.outside()
	w.network("front", network.CreateRequest{Options: map[string]string{optHostBinding: "127.0.0.1"}})
	b := w.container("b", Endpoint{Network: "front"})
	b.serve(80, "b")
	got := w.publish(b,
		Port{ContainerPort: 80},
		Port{ContainerPort: 80, HostIP: o.host},
		Port{ContainerPort: 80, HostIP: o.host6},
		Port{ContainerPort: 80, HostIP: netip.IPv6Loopback()})
	w.answered("b", "tcp", hostPort("127.0.0.1", got[0].HostPort))
	o.unreachable("tcp", hostPort(o.host, got[0].HostPort))
	o.reaches("b", "tcp", hostPort(o.host, got[1].HostPort))
	if _, _, err := ask("tcp", hostPort("127.0.0.1", got[1].HostPort)); err == nil {
		t.Error("a port that is published on one address answers at 127.0.0.1")
	}
	w.answered("b", "tcp", hostPort(o.host6, got[2].HostPort))
	w.answered("b", "tcp", hostPort("::1", got[3].HostPort))
	// a neighbour on the wire must not get at 127.0.0.1 by sending there
	lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	o.routeLoopback(lo, "wire", o.host)
	o.unreachable("tcp", hostPort(lo, got[0].HostPort))
	// nor a container at the host's loopback services
	service := hostPort(lo.Next(), w.freePort())
	w.must(serve(t, service, "host"))
	w.answered("host", "tcp", service)
	b.routeLoopback(lo.Next(), "eth0", b.as[0].Gateway4)
	b.unreachable("tcp", service)
	_, err := w.Publish(w.ctx(), b.id, []Port{{ContainerPort: 80, HostIP: netip.MustParseAddr("203.0.113.77")}})
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("published on an address that the host does not have: %v", err)
	}
}

func (w *world) freePort() uint16 {
	w.Helper()
	l, err := net.Listen("tcp", "127.0.0.2:0")
	w.must(err)
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func TestPublishIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.network("front", network.CreateRequest{})
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	b.serve(80, "b")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	w.must(err)
	defer l.Close()
	taken := uint16(l.Addr().(*net.TCPAddr).Port)
	free := w.publish(a, Port{ContainerPort: 80})[0].HostPort
	w.must(w.Unpublish(w.ctx(), a.id))

	before := w.fw.Forwards()
	_, err = w.Publish(w.ctx(), b.id, []Port{{HostPort: free, ContainerPort: 80}, {HostPort: free, ContainerPort: 80, Proto: "udp"}, {HostPort: taken, ContainerPort: 80}})
	in := new(PortInUseError)
	if !errors.As(err, &in) || in.HostPort != taken || in.Proto != "tcp" || in.Holder != "" || !errors.Is(err, ErrPortInUse) || !errdefs.IsConflict(err) {
		t.Fatalf("got %v, want that port %d is in use", err, taken)
	}
	if now := w.fw.Forwards(); len(now) != len(before) {
		t.Errorf("a failed publication left %v", now)
	}
	got := w.publish(a, Port{HostPort: free, ContainerPort: 80}, Port{HostPort: free, ContainerPort: 80, Proto: "udp"})
	if got[0].HostPort != free || got[1].HostPort != free {
		t.Fatalf("published as %+v, want port %d", got, free)
	}
	_, err = w.Publish(w.ctx(), b.id, []Port{{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: free, ContainerPort: 80}})
	if !errors.As(err, &in) || in.Holder != a.id {
		t.Errorf("got %v, want that a holds port %d", err, free)
	}
	busy := w.CheckPorts([]Port{{HostPort: free, Proto: "tcp"}, {HostPort: taken}, {HostPort: 0}})
	if len(busy) != 2 || busy[0].Holder != a.id || busy[1].HostPort != taken || busy[1].Holder != "" {
		t.Errorf("busy ports %v, want %d of a and %d", busy, free, taken)
	}
	if got := w.publish(b, Port{HostPort: free, HostPortEnd: free + 20, ContainerPort: 80}); got[0].HostPort <= free || got[0].HostPort > free+20 {
		t.Errorf("published %d, want one of the rest of the range from %d", got[0].HostPort, free)
	}
}

func TestPublishNeedsAWayOut(t *testing.T) {
	w := newWorld(t)
	w.network("inner", network.CreateRequest{Internal: true})
	a := w.container("a", Endpoint{Network: "inner"})
	if _, err := w.Publish(w.ctx(), a.id, []Port{{ContainerPort: 80}}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
	w.must(w.Release(w.ctx(), a.id))
	if _, err := w.Publish(w.ctx(), a.id, []Port{{ContainerPort: 80}}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

// A client that keeps sending from one socket must find the new container.
func TestUDPFlowsMoveWithThePort(t *testing.T) {
	w := newWorld(t)
	o := w.outside()
	w.network("front", network.CreateRequest{})
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	a.serve(80, "a")
	b.serve(80, "b")
	port := w.publish(a, Port{ContainerPort: 80, Proto: "udp"})[0].HostPort
	var client net.Conn
	o.inside(func() (err error) {
		client, err = net.Dial("udp", hostPort(o.host, port))
		return err
	})
	defer client.Close()
	exchange := func(want string) {
		t.Helper()
		if err := udpExchange(client, want); err != nil {
			t.Error(err)
		}
	}
	exchange("a")
	w.must(w.Unpublish(w.ctx(), a.id))
	w.publish(b, Port{HostPort: port, ContainerPort: 80, Proto: "udp"})
	exchange("b")
}

func TestPortsFollowTheGateway(t *testing.T) {
	w := newWorld(t)
	w.network("front", network.CreateRequest{})
	w.network("other", network.CreateRequest{})
	a := w.container("a", Endpoint{Network: "front"})
	a.serve(80, "a")
	port := w.publish(a, Port{ContainerPort: 80})[0].HostPort
	check := func() {
		t.Helper()
		for _, ip := range []string{"127.0.0.1", "::1"} {
			w.answered("a", "tcp", hostPort(ip, port))
		}
	}
	check()
	as, err := w.Connect(w.ctx(), a.id, Endpoint{Network: "other", GatewayPriority: 1})
	w.must(err)
	if as.IfName != "eth1" {
		t.Errorf("interface %q, want eth1", as.IfName)
	}
	check()
	w.must(w.Disconnect(w.ctx(), a.id, "front"))
	check()
	if err := w.Disconnect(w.ctx(), a.id, "front"); !errdefs.IsNotFound(err) {
		t.Errorf("disconnected twice: %v", err)
	}
	if _, err := w.Connect(w.ctx(), a.id, Endpoint{Network: "other"}); !errdefs.IsAlreadyExists(err) {
		t.Errorf("connected twice: %v", err)
	}
}
