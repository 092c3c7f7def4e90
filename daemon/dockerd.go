package daemon

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
)

// Given are keys of dockerd that can only say what is so here. They are taken,
// so that one daemon.json does for both.
type Given struct {
	LiveRestore   *bool           `json:"live-restore"`
	StorageDriver string          `json:"storage-driver"`
	Features      map[string]bool `json:"features"`
	ExecOpts      []string        `json:"exec-opts"`
	Iptables      *bool           `json:"iptables"`
	IP6tables     *bool           `json:"ip6tables"`
	IPForward     *bool           `json:"ip-forward"`
	UserlandProxy *bool           `json:"userland-proxy"` // the packet filter carries ports either way, where it can
}

// check tells with ErrInvalidArgument what is said otherwise than it is.
func (g Given) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
	}
	for key, on := range map[string]*bool{"live-restore": g.LiveRestore, "iptables": g.Iptables, "ip6tables": g.IP6tables, "ip-forward": g.IPForward} {
		if on != nil && !*on {
			return fail("%s: Gantry cannot do without, leave it out", key)
		}
	}
	if !slices.Contains([]string{"", "overlay2", "overlayfs"}, g.StorageDriver) {
		return fail("storage-driver: %q is not supported, use overlay2", g.StorageDriver)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Features)) {
		if on := g.Features[name]; !slices.Contains([]string{"buildkit", "containerd-snapshotter", "cdi"}, name) || !on {
			return fail("features: %q cannot be %t", name, on)
		}
	}
	for _, opt := range g.ExecOpts {
		if opt != "native.cgroupdriver=cgroupfs" {
			return fail("exec-opts: %q is not supported: cgroups are made by runc itself (native.cgroupdriver=cgroupfs)", opt)
		}
	}
	return nil
}

// Proxies are those through which the daemon reaches registries and contexts of
// builds. A variable of its environment stands where the key is not given.
type Proxies struct {
	HTTP  string `json:"http-proxy"`
	HTTPS string `json:"https-proxy"`
	No    string `json:"no-proxy"`
}

func (p Proxies) check() error {
	for key, value := range map[string]string{"http-proxy": p.HTTP, "https-proxy": p.HTTPS} {
		// what an URL cannot be is told without what it holds: a password, it may be
		if u, err := url.Parse(value); value != "" && (err != nil || u.Host == "" && !strings.Contains(value, ":")) {
			return fmt.Errorf("proxies: %s is no URL of a proxy: %w", key, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// use puts the proxies where Go's and others' clients look for them. It comes
// before the first request.
func (p Proxies) use() error {
	for name, value := range map[string]string{"HTTP_PROXY": p.HTTP, "HTTPS_PROXY": p.HTTPS, "NO_PROXY": p.No} {
		if value == "" {
			continue
		}
		for _, variable := range []string{name, strings.ToLower(name)} {
			if err := os.Setenv(variable, value); err != nil {
				return fmt.Errorf("proxies: %w", err)
			}
		}
	}
	return nil
}

// instead says what there is for a key of dockerd that is not supported.
var instead = map[string]string{
	"bip":                   "default-address-pools says where subnets come from, the default network's too",
	"bip6":                  "default-address-pools says where subnets come from",
	"fixed-cidr":            "default-address-pools says where subnets come from",
	"fixed-cidr-v6":         "default-address-pools says where subnets come from",
	"default-runtime":       "containers run with runc",
	"runtimes":              "containers run with runc",
	"userns-remap":          "user namespaces are not supported",
	"graph":                 "it is data-root",
	"tls":                   "the API is served on unix sockets; ssh carries it elsewhere (DOCKER_HOST=ssh://…)",
	"tlsverify":             "the API is served on unix sockets; ssh carries it elsewhere (DOCKER_HOST=ssh://…)",
	"authorization-plugins": "plugins are not supported",
	"shutdown-timeout":      "containers outlive the daemon",
	"seccomp-profile":       "give --security-opt seccomp=FILE to the container",
	"storage-opts":          "disk quotas are not supported",
}

// explain adds to the decoder's error about an unknown key what to do about it.
func explain(err error) error {
	_, key, ok := strings.Cut(err.Error(), "unknown field ")
	if !ok {
		return err
	}
	if hint, ok := instead[strings.Trim(key, `"`)]; ok {
		return fmt.Errorf("key %s is not supported: %s", key, hint)
	}
	return fmt.Errorf("unknown key %s", key)
}
