package containerd

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Registries says how registries are reached. The names are dockerd's.
type Registries struct {
	Mirrors   []string // registry-mirrors: base URLs, tried in order before docker.io
	Insecure  []string // insecure-registries: host, host:port or CIDR; loopback always is
	CertsDirs []string // <dir>/<host:port>/ca.crt, client.cert, client.key; all of them count

	Downloads int // max-concurrent-downloads: blobs of one image, 5 when 0
	Uploads   int // max-concurrent-uploads: the same of a push
	Attempts  int // max-download-attempts: of one blob, 5 when 0
}

func (c Registries) downloads() int { return cmp.Or(c.Downloads, defaultTransfers) }
func (c Registries) uploads() int   { return cmp.Or(c.Uploads, defaultTransfers) }
func (c Registries) attempts() int  { return cmp.Or(c.Attempts, defaultAttempts) }

// Auth is what a registry asks for. The zero value is nobody.
type Auth struct{ Username, Password, IdentityToken, RegistryToken string }

// resolver talks to the registry of a complete reference, and to its mirrors.
// A push needs a tracker.
func (c Registries) resolver(name string, auth Auth, tracker docker.StatusTracker) (m mirrored, err error) {
	domain := domainOf(name)
	hosts, err := c.hosts(domain, auth)
	if err != nil {
		return m, err
	}
	of := func(hosts ...docker.RegistryHost) remotes.Resolver {
		return docker.NewResolver(docker.ResolverOptions{
			Hosts:   func(string) ([]docker.RegistryHost, error) { return hosts, nil },
			Tracker: tracker,
		})
	}
	m.Resolver = of(hosts...)
	for _, h := range hosts {
		m.each, m.hosts = append(m.each, of(h)), append(m.hosts, h.Host)
	}
	return m, nil
}

// mirrored asks mirrors one after another and then the registry itself, whose
// answer it is that counts when none has an image.
type mirrored struct {
	remotes.Resolver // of all of them
	each             []remotes.Resolver
	hosts            []string // of each
}

func (m mirrored) Resolve(ctx context.Context, ref string) (name string, desc ocispec.Descriptor, err error) {
	for i, r := range m.each {
		if name, desc, err = r.Resolve(ctx, ref); err == nil || ctx.Err() != nil {
			break
		}
		if i < len(m.hosts)-1 && !errdefs.IsNotFound(err) {
			log.G(ctx).Warnf("mirror %q fails, the next one is asked for %s: %v", m.hosts[i], ref, err)
		}
	}
	return name, desc, err
}

// fetchers are who blobs are asked for, attempt by attempt: mirrors and then the
// registry, and the registry alone, as a mirror may have what nobody else has,
// or it broken.
func (m mirrored) fetchers(ctx context.Context, ref string) (out []remotes.Fetcher, err error) {
	turns := []remotes.Resolver{m.Resolver}
	if len(m.each) > 1 {
		turns = append(turns, m.each[len(m.each)-1])
	}
	for _, r := range turns {
		f, err := r.Fetcher(ctx, ref)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// RegistryHosts says how a registry and its mirrors are reached by those who
// bring credentials of their own, and know nothing of pauses.
func (r *Runtime) RegistryHosts(domain string) ([]docker.RegistryHost, error) {
	hosts, err := r.cfg.Registries.hosts(domain, Auth{})
	for i := range hosts {
		hosts[i].Authorizer = nil
		hosts[i].Client.Transport = patient{hosts[i].Client.Transport}
	}
	return hosts, err
}

func (c Registries) hosts(domain string, auth Auth) ([]docker.RegistryHost, error) {
	var out []docker.RegistryHost
	if domain == "docker.io" {
		for _, m := range c.Mirrors {
			u, err := url.Parse(m)
			if err != nil || u.Host == "" {
				return nil, fmt.Errorf("registry mirror %q is no URL: %w", m, errdefs.ErrInvalidArgument)
			}
			h, err := c.host(u.Host, Auth{})
			if err != nil {
				return nil, err
			}
			h.Scheme, h.Path = u.Scheme, strings.TrimSuffix(u.Path, "/")+h.Path
			out = append(out, h)
		}
	}
	name, err := docker.DefaultHost(domain) // docker.io is served by registry-1.docker.io
	if err != nil {
		return nil, err
	}
	h, err := c.host(name, auth)
	h.Capabilities |= docker.HostCapabilityPush // mirrors are read only
	return append(out, h), err
}

func (c Registries) host(name string, auth Auth) (docker.RegistryHost, error) {
	client, err := c.client(name)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	h := docker.RegistryHost{
		Client:       client,
		Host:         name,
		Scheme:       "https",
		Path:         "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		Authorizer: renewing{docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(string) (string, string, error) {
			if auth.IdentityToken != "" {
				return "", auth.IdentityToken, nil
			}
			return auth.Username, auth.Password, nil
		}))},
	}
	if auth.RegistryToken != "" {
		h.Authorizer = bearer{name, auth.RegistryToken}
	}
	return h, nil
}

// insecure tells whether a registry may be spoken to without a valid
// certificate, or without TLS: what is configured, and loopback, as dockerd.
func (c Registries) insecure(name string) bool {
	host := name
	if h, _, err := net.SplitHostPort(name); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	if host == "localhost" || ip != nil && ip.IsLoopback() {
		return true
	}
	for _, entry := range c.Insecure {
		if entry == name || entry == host {
			return true
		}
		if _, block, err := net.ParseCIDR(entry); err == nil && ip != nil && block.Contains(ip) {
			return true
		}
	}
	return false
}

// tls reads a registry's certificates from where dockerd has them, and from
// Gantry's own place.
func (c Registries) tls(name string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, root := range c.CertsDirs {
		if err := addCertificates(conf, name, filepath.Join(root, filepath.Base(name))); err != nil {
			return nil, err
		}
	}
	return conf, nil
}

func addCertificates(conf *tls.Config, name, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("certificates of registry %q: %w", name, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(path) {
		case ".crt":
			if conf.RootCAs == nil {
				if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
					return fmt.Errorf("the system's certificates: %w", err)
				}
			}
			pem, err := os.ReadFile(path)
			if err != nil {
				return fmt.Errorf("certificates of registry %q: %w", name, err)
			}
			if !conf.RootCAs.AppendCertsFromPEM(pem) {
				return fmt.Errorf("certificate %q holds no certificate: %w", path, errdefs.ErrInvalidArgument)
			}
		case ".cert":
			pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
			if err != nil {
				return fmt.Errorf("client certificate of registry %q: %w: %w", name, err, errdefs.ErrInvalidArgument)
			}
			conf.Certificates = append(conf.Certificates, pair)
		}
	}
	return nil
}
