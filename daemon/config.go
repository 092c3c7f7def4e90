// Package daemon puts the daemon together: configuration, the embedded
// runtime, the engine and the server in front of it.
package daemon

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	ctd "gantry/containerd"
	"gantry/engine"
	"gantry/network"

	"github.com/containerd/errdefs"
)

// Where the daemon of a host lives when nobody says otherwise.
const (
	DefaultConfigFile = "/etc/gantry/daemon.json"
	DefaultDataRoot   = "/var/lib/gantry"
	DefaultExecRoot   = "/run/gantry"
	DefaultSocket     = DefaultExecRoot + "/gantry.sock"
	DefaultHost       = "unix://" + DefaultSocket
	defaultGroup      = "gantry"
)

// Config is the daemon's configuration: the keys of daemon.json, named as
// dockerd names them. Flags lie over the file.
type Config struct {
	DataRoot   string   `json:"data-root"`
	ExecRoot   string   `json:"exec-root"`
	Hosts      []string `json:"hosts"`
	Group      string   `json:"group"`
	Pidfile    string   `json:"pidfile"`
	LogLevel   string   `json:"log-level"`
	Containerd string   `json:"containerd"` // socket of an outside containerd, "" for the embedded one

	LogDriver          string            `json:"log-driver"`
	LogOpts            map[string]string `json:"log-opts"`
	InsecureRegistries []string          `json:"insecure-registries"`
	RegistryMirrors    []string          `json:"registry-mirrors"`
	MaxDownloads       int               `json:"max-concurrent-downloads"` // blobs of one image
	MaxUploads         int               `json:"max-concurrent-uploads"`   // blobs of one image
	MaxAttempts        int               `json:"max-download-attempts"`    // of one blob, and of one upload
	AddressPools       []AddressPool     `json:"default-address-pools"`
	DNS                []string          `json:"dns"`
	DNSSearch          []string          `json:"dns-search"`
	DNSOptions         []string          `json:"dns-opts"`
	CDISpecDirs        []string          `json:"cdi-spec-dirs"`
	Labels             []string          `json:"labels"` // the daemon's own, for info to tell
	Debug              bool              `json:"debug"`  // log-level debug

	MTU            int                          `json:"mtu"`                  // of the default network
	NetworkOptions map[string]map[string]string `json:"default-network-opts"` // by driver, of other networks

	Containers
	Proxies Proxies `json:"proxies"`
	Given

	Builder Builder `json:"builder"`

	file string // from which it was read, or would have been
}

// AddressPool is a range that networks get their subnets from: Base is cut
// into subnets of Size bits.
type AddressPool struct {
	Base netip.Prefix `json:"base"`
	Size int          `json:"size"`
}

// DefaultConfig is the configuration of a host's one daemon.
func DefaultConfig() Config {
	return Config{DataRoot: DefaultDataRoot, ExecRoot: DefaultExecRoot, Group: defaultGroup, LogLevel: "info", LogDriver: "json-file", CDISpecDirs: []string{"/etc/cdi", "/var/run/cdi"}}
}

// Load reads the file at path over the defaults. A key that is not known is an
// error; a file that is not there is one only when it was asked for.
func Load(path string, asked bool) (Config, error) {
	c := DefaultConfig()
	c.file = path
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && !asked {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("daemon configuration: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("daemon configuration %s%s: %w: %w", path, lineOf(b, err), explain(err), errdefs.ErrInvalidArgument)
	}
	if _, err := d.Token(); err != io.EOF {
		line := 1 + bytes.Count(b[:d.InputOffset()], []byte("\n"))
		return c, fmt.Errorf("daemon configuration %s:%d: more follows after the object's end: %w", path, line, errdefs.ErrInvalidArgument)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("daemon configuration %s: %w", path, err)
	}
	return c, nil
}

// lineOf tells the line of a JSON error, where the error knows its place.
func lineOf(b []byte, err error) string {
	var offset int64
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
	default:
		// an unknown key: the decoder names it, the file says where it stands
		if _, key, ok := strings.Cut(err.Error(), "unknown field "); ok {
			if i := bytes.Index(b, []byte(key)); i >= 0 {
				offset = int64(i)
			}
		}
	}
	if offset == 0 {
		return ""
	}
	return fmt.Sprintf(":%d", 1+bytes.Count(b[:offset], []byte("\n")))
}

func (c *Config) check() error {
	for _, p := range []struct{ key, path string }{{"data-root", c.DataRoot}, {"exec-root", c.ExecRoot}} {
		if !filepath.IsAbs(p.path) {
			return fmt.Errorf("%s %q must be an absolute path: %w", p.key, p.path, errdefs.ErrInvalidArgument)
		}
	}
	if filepath.Clean(c.DataRoot) == filepath.Clean(c.ExecRoot) {
		return fmt.Errorf("data-root and exec-root are both %q: a reboot empties the one and must leave the other: %w", c.DataRoot, errdefs.ErrInvalidArgument)
	}
	if len(c.ExecRoot) > maxExecRoot {
		return fmt.Errorf("exec-root %q is longer than %d characters, sockets below it would not fit the kernel's limit: %w", c.ExecRoot, maxExecRoot, errdefs.ErrInvalidArgument)
	}
	if c.LogDriver == "" {
		return fmt.Errorf("log-driver is empty, use json-file, local or none: %w", errdefs.ErrInvalidArgument)
	}
	if err := engine.CheckLogDefaults(c.LogDriver, c.LogOpts); err != nil {
		return fmt.Errorf("log-driver, log-opts: %w", err)
	}
	if _, err := c.dns(); err != nil {
		return err
	}
	for key, n := range map[string]int{"max-concurrent-downloads": c.MaxDownloads, "max-concurrent-uploads": c.MaxUploads, "max-download-attempts": c.MaxAttempts} {
		if n < 0 {
			return fmt.Errorf("%s: %d is less than 1: %w", key, n, errdefs.ErrInvalidArgument)
		}
	}
	if _, err := c.Builder.rules(); err != nil {
		return err
	}
	if _, err := c.Containers.defaults(); err != nil {
		return err
	}
	if err := c.Proxies.check(); err != nil {
		return err
	}
	if err := c.Given.check(); err != nil {
		return err
	}
	if c.MTU != 0 {
		if err := network.CheckMTU(c.MTU); err != nil {
			return fmt.Errorf("mtu: %d is %w: %w", c.MTU, err, errdefs.ErrInvalidArgument)
		}
	}
	for driver, options := range c.NetworkOptions {
		if driver != "bridge" {
			return fmt.Errorf("default-network-opts: driver %q is not supported, use bridge: %w", driver, errdefs.ErrInvalidArgument)
		}
		if err := network.CheckOptions(options); err != nil {
			return fmt.Errorf("default-network-opts: %w", err)
		}
	}
	for _, label := range c.Labels {
		if key, _, ok := strings.Cut(label, "="); !ok || key == "" {
			return fmt.Errorf("labels: %q is not KEY=VALUE: %w", label, errdefs.ErrInvalidArgument)
		}
	}
	for _, dir := range c.cdiDirs() {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("cdi-spec-dirs: %q must be an absolute path: %w", dir, errdefs.ErrInvalidArgument)
		}
	}
	for _, p := range c.AddressPools {
		if !p.Base.IsValid() || p.Size < p.Base.Bits() || p.Size > p.Base.Addr().BitLen() {
			return fmt.Errorf("default-address-pools: base %v cannot be cut into subnets of size %d: %w", p.Base, p.Size, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// maxExecRoot leaves room for the longest socket name below the exec root.
const maxExecRoot = 30

// hosts are the addresses to serve: those configured, else the socket in the
// exec root.
func (c *Config) hosts() []string {
	if len(c.Hosts) > 0 {
		return c.Hosts
	}
	return []string{"unix://" + filepath.Join(c.ExecRoot, socketName)}
}

// instance tells this daemon's names on the host from another's: "" for the
// default roots, else six characters that depend on the roots alone.
func (c *Config) instance() string {
	if c.DataRoot == DefaultDataRoot && c.ExecRoot == DefaultExecRoot {
		return ""
	}
	sum := sha256.Sum256([]byte(c.DataRoot + "\x00" + c.ExecRoot))
	return hex.EncodeToString(sum[:3])
}

// Override lays the values of flags that were given over the configuration.
func (c *Config) Override(flags Config, given func(flag string) bool) {
	for name, set := range map[string]func(){
		"data-root":         func() { c.DataRoot = flags.DataRoot },
		"exec-root":         func() { c.ExecRoot = flags.ExecRoot },
		"host":              func() { c.Hosts = flags.Hosts },
		"pidfile":           func() { c.Pidfile = flags.Pidfile },
		"log-level":         func() { c.LogLevel = flags.LogLevel },
		"group":             func() { c.Group = flags.Group },
		"containerd":        func() { c.Containerd = flags.Containerd },
		"insecure-registry": func() { c.InsecureRegistries = append(c.InsecureRegistries, flags.InsecureRegistries...) },
		"registry-mirror":   func() { c.RegistryMirrors = append(c.RegistryMirrors, flags.RegistryMirrors...) },
	} {
		if given(name) {
			set()
		}
	}
}

// Serves tells whether a unix socket is one that this configuration serves.
func (c *Config) Serves(socket string) bool {
	return slices.Contains(c.Sockets(), socket)
}

// Sockets are the paths of the unix sockets that this configuration serves.
func (c *Config) Sockets() []string {
	var out []string
	for _, h := range c.hosts() {
		if path, ok := strings.CutPrefix(h, "unix://"); ok {
			out = append(out, path)
		}
	}
	if c.linked() {
		out = append(out, filepath.Join(c.ExecRoot, linkName))
	}
	return out
}

// dns are the settings of name service for containers without their own.
func (c *Config) dns() (network.DNS, error) {
	d := network.DNS{Search: c.DNSSearch, Options: c.DNSOptions}
	for _, s := range c.DNS {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return d, fmt.Errorf("dns: %q is not an IP address: %w", s, errdefs.ErrInvalidArgument)
		}
		d.Servers = append(d.Servers, a)
	}
	return d, nil
}

// pools are the configured address pools, as the network knows them.
func (c *Config) pools() []network.Pool {
	var out []network.Pool
	for _, p := range c.AddressPools {
		out = append(out, network.Pool{Base: p.Base, Size: p.Size})
	}
	return out
}

// registries says how registries are reached. Their certificates are where
// dockerd has them, and in certs.d beside our own configuration.
func (c *Config) registries() ctd.Registries {
	own := c.file
	if own == "" {
		own = DefaultConfigFile
	}
	return ctd.Registries{
		Insecure: c.InsecureRegistries, Mirrors: c.RegistryMirrors,
		CertsDirs: []string{"/etc/docker/certs.d", filepath.Join(filepath.Dir(own), "certs.d")},
		Downloads: c.MaxDownloads, Uploads: c.MaxUploads, Attempts: c.MaxAttempts,
	}
}

// cdiDirs are where CDI specifications of devices are looked for. Docker's way
// to say "nowhere" is one empty name.
func (c *Config) cdiDirs() []string {
	return slices.DeleteFunc(slices.Clone(c.CDISpecDirs), func(dir string) bool { return dir == "" })
}
