package containerd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
)

// Registries says how registries are reached. The names are dockerd's.
type Registries struct {
	Mirrors  []string // registry-mirrors: base URLs, tried in order before docker.io
	Insecure []string // insecure-registries: host, host:port or CIDR; loopback always is
	CertsDir string   // <dir>/<host:port>/ca.crt, client.cert, client.key; /etc/docker/certs.d when empty
}

// Auth is what a registry asks for. The zero value is nobody.
type Auth struct{ Username, Password, IdentityToken, RegistryToken string }

// resolver talks to the registry of a complete reference, and to its mirrors.
func (c Registries) resolver(name string, auth Auth) (remotes.Resolver, error) {
	domain := domainOf(name)
	hosts, err := c.hosts(domain, auth)
	if err != nil {
		return nil, err
	}
	return docker.NewResolver(docker.ResolverOptions{
		Hosts: func(string) ([]docker.RegistryHost, error) { return hosts, nil },
	}), nil
}

// RegistryHosts says how a registry and its mirrors are reached by those who
// bring credentials of their own.
func (r *Runtime) RegistryHosts(domain string) ([]docker.RegistryHost, error) {
	hosts, err := r.cfg.Registries.hosts(domain, Auth{})
	for i := range hosts {
		hosts[i].Authorizer = nil
		if i == len(hosts)-1 { // mirrors are read only
			hosts[i].Capabilities |= docker.HostCapabilityPush
		}
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
	return append(out, h), err
}

func (c Registries) host(name string, auth Auth) (docker.RegistryHost, error) {
	insecure := c.insecure(name)
	conf, err := c.tls(name)
	if err != nil {
		return docker.RegistryHost{}, err
	}
	conf.InsecureSkipVerify = insecure
	client := &http.Client{Transport: docker.DefaultHTTPTransport(conf)}
	if insecure {
		client.Transport = docker.NewHTTPFallback(client.Transport)
	}
	h := docker.RegistryHost{
		Client:       client,
		Host:         name,
		Scheme:       "https",
		Path:         "/v2",
		Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		Authorizer: docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(string) (string, string, error) {
			if auth.IdentityToken != "" {
				return "", auth.IdentityToken, nil
			}
			return auth.Username, auth.Password, nil
		})),
	}
	if auth.RegistryToken != "" {
		h.Authorizer = nil
		h.Header = http.Header{"Authorization": {"Bearer " + auth.RegistryToken}}
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

// tls reads a registry's certificates from where dockerd has them.
func (c Registries) tls(name string) (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	root := c.CertsDir
	if root == "" {
		root = "/etc/docker/certs.d"
	}
	dir := filepath.Join(root, filepath.Base(name))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return conf, nil
	}
	if err != nil {
		return nil, fmt.Errorf("certificates of registry %q: %w", name, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(path) {
		case ".crt":
			if conf.RootCAs == nil {
				if conf.RootCAs, err = x509.SystemCertPool(); err != nil {
					return nil, fmt.Errorf("the system's certificates: %w", err)
				}
			}
			pem, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("certificates of registry %q: %w", name, err)
			}
			if !conf.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("certificate %q holds no certificate: %w", path, errdefs.ErrInvalidArgument)
			}
		case ".cert":
			pair, err := tls.LoadX509KeyPair(path, strings.TrimSuffix(path, ".cert")+".key")
			if err != nil {
				return nil, fmt.Errorf("client certificate of registry %q: %w: %w", name, err, errdefs.ErrInvalidArgument)
			}
			conf.Certificates = append(conf.Certificates, pair)
		}
	}
	return conf, nil
}
