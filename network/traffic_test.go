package network

import (
	"testing"

	"github.com/moby/moby/api/types/network"
)

func TestSameNetworkIsReachableOthersAreNot(t *testing.T) {
	w := newWorld(t)
	w.network("front", network.CreateRequest{})
	w.network("back", network.CreateRequest{})
	a, b := w.container("a", Endpoint{Network: "front"}), w.container("b", Endpoint{Network: "front"})
	c := w.container("c", Endpoint{Network: "back"})
	b.serve(80, "b")
	c.serve(80, "c")
	if peer := a.reaches("b", "tcp", hostPort(b.addr("front"), 80)); peer != "::ffff:"+a.addr("front").String() && peer != a.addr("front").String() {
		t.Errorf("b sees %s, want %s", peer, a.addr("front"))
	}
	a.reaches("b", "udp", hostPort(b.addr("front"), 80))
	a.unreachable("tcp", hostPort(c.addr("back"), 80))
	a.unreachable("udp", hostPort(c.addr("back"), 80))
	w.answered("c", "tcp", hostPort(c.addr("back"), 80)) // the host reaches all
}
