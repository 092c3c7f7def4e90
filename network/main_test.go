package network

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gantry/network/ns"

	"github.com/moby/moby/api/types/network"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The suite runs twice: in a network namespace of its own, which is like a
// host that nothing else has touched, and in the one it was started in.
const hostLike = "GANTRY_TEST_HOSTLIKE"

func TestMain(m *testing.M) {
	failed := false
	if os.Getenv(hostLike) == "" {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Env = append(os.Environ(), hostLike+"=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "in a network namespace of its own:", err)
			failed = true
		}
	} else if err := prepareHost(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if failed {
		code = 1
	}
	os.Exit(code)
}

func prepareHost() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	// so that /proc/sys/net and /sys are those of this namespace
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func private() bool { return os.Getenv(hostLike) != "" }

const bound = 10 * time.Second

// world is a daemon's network and what tests do with it.
type world struct {
	testing.TB
	*Manager
	cfg Config
	n   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	return newWorldAlone(t)
}

func newWorldAlone(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, func(*Config) {})
}

func newWorldBench(b *testing.B) *world { return newWorldWith(b, func(*Config) {}) }

func newWorldWith(t testing.TB, change func(*Config)) *world {
	t.Helper()
	tag := make([]byte, 2)
	_, _ = rand.Read(tag)
	dir := t.TempDir()
	w := &world{TB: t, cfg: Config{
		Instance: "t" + hex.EncodeToString(tag), RunDir: filepath.Join(dir, "netns"), StateDir: filepath.Join(dir, "networks"),
	}}
	// Addresses of its own: while a test has taken its bridges away, others must
	// not choose their subnets.
	pool := netip.AddrFrom4([4]byte{100, 64 | tag[0]&63, tag[1] & 0xe0, 0})
	w.cfg.Pools = []Pool{{Base: netip.PrefixFrom(pool, 19), Size: 25}}
	change(&w.cfg)
	w.Manager = w.open()
	t.Cleanup(w.destroy)
	return w
}

func (w *world) open() *Manager {
	w.Helper()
	m, err := Open(w.ctx(), w.cfg)
	w.must(err)
	return m
}

// reopen is another daemon after the first one ended.
func (w *world) reopen() {
	w.Helper()
	w.must(w.Manager.Close(w.ctx()))
	w.Manager = w.open()
}

func (w *world) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 3*bound)
	w.Cleanup(cancel)
	return ctx
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// destroy removes everything and looks whether something is left.
func (w *world) destroy() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*bound)
	defer cancel()
	w.mu.Lock()
	var ids []string
	for id := range w.sandboxes {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	for _, id := range ids {
		if err := w.Release(ctx, id); err != nil {
			w.Error(err)
		}
	}
	for _, n := range w.List() {
		if n.Bridge != "" && n.Name != DefaultName {
			if err := w.Remove(ctx, n.Name); err != nil {
				w.Error(err)
			}
		}
	}
	if err := w.Sweep(ctx, func(string) bool { return false }); err != nil {
		w.Error(err)
	}
	if err := w.Manager.Close(ctx); err != nil {
		w.Error(err)
	}
	for _, left := range w.leftovers() {
		w.Errorf("left behind: %s", left)
	}
}

// leftovers lists what this instance has on the host.
func (w *world) leftovers() (out []string) {
	links, err := netlink.LinkList()
	if err != nil && len(links) == 0 {
		w.Error(err)
	}
	for _, l := range links {
		if n := l.Attrs().Name; strings.HasPrefix(n, "gb"+w.cfg.Instance) || strings.HasPrefix(n, "gv"+w.cfg.Instance) ||
			strings.HasPrefix(l.Attrs().Alias, "gantry:"+w.cfg.Instance+":") {
			out = append(out, "link "+n)
		}
	}
	rules, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		w.Errorf("nft: %v: %s", err, rules)
	}
	for line := range strings.Lines(string(rules)) {
		if strings.Contains(line, w.cfg.Instance) {
			out = append(out, "rule "+strings.TrimSpace(line))
		}
	}
	for _, dir := range []string{w.cfg.RunDir, w.cfg.StateDir} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			w.Error(err)
		}
		for _, e := range entries {
			if e.Name() != DefaultName+".json" {
				out = append(out, "file "+filepath.Join(dir, e.Name()))
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		w.Error(err)
	}
	if strings.Contains(string(mounts), w.cfg.RunDir) {
		out = append(out, "mounts below "+w.cfg.RunDir)
	}
	return out
}

func (w *world) network(name string, req network.CreateRequest) Network {
	w.Helper()
	n, err := w.Create(w.ctx(), name, req, digest(w.cfg.Instance, name))
	w.must(err)
	return n
}

// container is a live sandbox.
type container struct {
	*world
	id   string
	path string
	as   []Assigned
}

func (w *world) container(name string, endpoints ...Endpoint) *container {
	w.Helper()
	c := &container{world: w, id: digest(w.cfg.Instance, name)}
	for i := range endpoints {
		endpoints[i].Aliases = append([]string{name}, endpoints[i].Aliases...)
	}
	r, err := w.Ensure(w.ctx(), Sandbox{ID: c.id, Endpoints: endpoints})
	w.must(err)
	c.path, c.as = r.Path, r.Endpoints
	w.SetLive(c.id, true)
	return c
}

func (c *container) addr(network string) netip.Addr {
	c.Helper()
	for _, a := range c.as {
		if a.Network == network {
			return a.IPv4.Addr()
		}
	}
	c.Fatalf("not on network %q", network)
	return netip.Addr{}
}

// inside runs f in the container's namespace.
func (c *container) inside(f func() error) {
	c.Helper()
	if err := ns.Do(c.path, f); err != nil {
		c.Fatal(err)
	}
}

// serve answers each TCP connection by name and the peer's address, and each UDP packet
// likewise, at a port of the container.
func (c *container) serve(port uint16, name string) {
	c.Helper()
	c.inside(func() error { return serve(c.TB, fmt.Sprintf("[::]:%d", port), name) })
}

func serve(t testing.TB, address, name string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			peer, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = io.WriteString(conn, name+" "+peer)
			conn.Close()
		}
	}()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { u.Close() })
	go func() {
		buf := make([]byte, 64)
		for {
			_, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = u.WriteTo([]byte(name), from)
		}
	}()
	return nil
}

// ask connects and returns who answered.
func ask(network, address string) (name, peer string, err error) {
	conn, err := net.DialTimeout(network, address, bound)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	if strings.HasPrefix(network, "udp") {
		name, err = tryAndTryAgain(conn)
		return name, "", err
	}
	all, err := io.ReadAll(conn)
	name, peer, _ = strings.Cut(string(all), " ")
	return name, peer, err
}

// answered fails unless who answers at an address, asked from here.
func (w *world) answered(who, network, address string) (peer string) {
	w.Helper()
	name, peer, err := ask(network, address)
	if err != nil || name != who {
		w.Errorf("%s %s: got %q, %v; want %q", network, address, name, err, who)
	}
	return peer
}

func (c *container) reaches(who, network, address string) (peer string) {
	c.Helper()
	c.inside(func() error { peer = c.answered(who, network, address); return nil })
	return peer
}

// silence is how long a dropped packet is waited for.
const silence = 300 * time.Millisecond

// unreachable fails when something is there; a packet that is dropped shows
// only by silence.
func (c *container) unreachable(network, address string) {
	c.Helper()
	c.inside(func() error {
		conn, err := net.DialTimeout(network, address, silence)
		if err != nil {
			return nil
		}
		defer conn.Close()
		if network == "udp" {
			_ = conn.SetDeadline(time.Now().Add(silence))
			_, _ = conn.Write([]byte("?"))
			if _, err := conn.Read(make([]byte, 64)); err != nil {
				return nil
			}
		}
		return fmt.Errorf("%s %s can be reached", network, address)
	})
}

func udpExchange(c net.Conn, want string) error {
	got, err := tryAndTryAgain(c)
	if err != nil || got != want {
		return fmt.Errorf("%q answered, %v; want %q", got, err, want)
	}
	return nil
}

// tryAndTryAgain asks as UDP clients do: packets may be lost, and are while an
// interface comes up.
func tryAndTryAgain(c net.Conn) (answer string, err error) {
	buf := make([]byte, 64)
	for range int(bound / silence) {
		_ = c.SetDeadline(time.Now().Add(silence))
		if _, err = c.Write([]byte("?")); err != nil {
			return "", err
		}
		var n int
		if n, err = c.Read(buf); err == nil {
			return string(buf[:n]), nil
		}
		if ne := net.Error(nil); !errors.As(err, &ne) || !ne.Timeout() {
			return "", err
		}
	}
	return "", err
}

func hostPort(ip any, port uint16) string { return net.JoinHostPort(fmt.Sprint(ip), fmt.Sprint(port)) }

func yes() *bool { b := true; return &b }
