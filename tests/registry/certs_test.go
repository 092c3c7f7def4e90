package registry_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"gantry/tests/harness"
)

// authority signs certificates that no system knows.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return a
}

func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if parent == nil {
		parent, by = template, key
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.Subject = pkix.Name{CommonName: "gantry test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// A registry with a private certificate, which wants one of its users too, is
// opened by what lies in certs.d; without, the error says where to put it.
func TestPrivateCertificates(t *testing.T) {
	t.Parallel()
	d := start(t)
	plain := harness.Registry(t, "", "")
	harness.Push(t, plain+"/app:1", nil)

	// Loopback needs no certificate: the registry listens on a network's gateway.
	d.MustDocker("network", "create", "lan")
	t.Cleanup(func() { d.MustDocker("network", "rm", "lan") })
	d.MustDocker("run", "-d", "--init", "--network", "lan", "--name", "there", image, "sleep", "1000")
	t.Cleanup(func() { d.MustDocker("rm", "-f", "there") })
	gateway := strings.TrimSpace(d.MustDocker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "lan"))
	l, err := net.Listen("tcp", net.JoinHostPort(gateway, "0"))
	if err != nil {
		t.Fatal(err)
	}
	ca := newAuthority(t)
	server, key := ca.sign(&x509.Certificate{IPAddresses: []net.IP{net.ParseIP(gateway)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, ca.cert, ca.key)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: plain})
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}}
	srv := httptest.NewUnstartedServer(http.Handler(proxy))
	srv.Listener.Close()
	srv.Listener = l
	srv.Config.ErrorLog = quiet()
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{server.Raw}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr := l.Addr().String()

	has(t, d.FailDocker("pull", addr+"/app:1").Stderr, `registry "`+addr+`" has a certificate that is not trusted`, "certs.d/"+addr, "insecure-registries")
	build := func() harness.Result {
		return d.DockerInput("FROM "+addr+"/app:1\nLABEL built=here\n", "build", "--pull", "--push", "-t", addr+"/built:1", "-")
	}
	has(t, build().Stderr, addr, "certificate signed by unknown authority")
	d.Write("certs.d/"+addr+"/ca.crt", pemOf("CERTIFICATE", ca.cert.Raw))
	has(t, d.FailDocker("pull", addr+"/app:1").Stderr, addr, "certificate required")
	user, userKey := ca.sign(&x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, ca.cert, ca.key)
	der, err := x509.MarshalECPrivateKey(userKey)
	if err != nil {
		t.Fatal(err)
	}
	d.Write("certs.d/"+addr+"/client.cert", pemOf("CERTIFICATE", user.Raw))
	if err := os.Chmod(d.Write("certs.d/"+addr+"/client.key", pemOf("EC PRIVATE KEY", der)), 0o600); err != nil {
		t.Fatal(err)
	}
	d.MustDocker("pull", addr+"/app:1")
	d.MustDocker("tag", addr+"/app:1", addr+"/copy:1")
	d.MustDocker("push", addr+"/copy:1")
	if r := build(); r.Code != 0 {
		t.Errorf("a build from it and to it: %v", r)
	}
	d.MustDocker("rmi", addr+"/built:1")
	d.MustDocker("pull", addr+"/built:1")
}

// What a mirror has not comes from where it is asked for; here nothing can be
// reached behind the mirror, and the error is the origin's.
func TestMirror(t *testing.T) {
	t.Parallel()
	mirror := harness.Registry(t, "", "")
	harness.Push(t, mirror+"/library/thing:1", nil)
	d := start(t, `"registry-mirrors": ["http://`+mirror+`"]`)
	d.MustDocker("pull", "thing:1")
	if out := d.MustDocker("images", "--format", "{{.Repository}}:{{.Tag}}", "thing"); out != "thing:1\n" {
		t.Errorf("images: %q", out)
	}
	d.MustDocker("rmi", "thing:1")
	if r := d.DockerInput("FROM thing:1\nLABEL built=here\n", "build", "--pull", "-t", "built", "-"); r.Code != 0 {
		t.Errorf("a build from it: %v", r)
	}
}
