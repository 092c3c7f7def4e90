package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
)

func load(t *testing.T, content string) (Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "daemon.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, true)
}

func TestBadConfigurationIsRefusedWithItsPlace(t *testing.T) {
	for name, tc := range map[string]struct{ content, want string }{
		"unknown key":        {"{\n\"data-root\": \"/d\",\n\"data-rot\": \"/e\"\n}", "daemon.json:3"},
		"syntax":             {"{\n\"data-root\": \"/d\"\n\"x\": 1\n}", "daemon.json:3"},
		"wrong type":         {"{\n\"dns\": \"192.0.2.1\"\n}", "daemon.json:2"},
		"more after the end": {"{}\n{}", "daemon.json:2"},
		"relative root":      {`{"data-root": "d"}`, "data-root"},
		"one root for both":  {`{"data-root": "/r", "exec-root": "/r/"}`, "both"},
		"long exec-root":     {`{"exec-root": "/` + strings.Repeat("x", 40) + `"}`, "exec-root"},
		"log driver":         {`{"log-driver": "syslog"}`, "syslog"},
		"log option":         {`{"log-opts": {"max-size": "big"}}`, "max-size"},
		"unknown log option": {`{"log-opts": {"max-files": "3"}}`, "max-files"},
		"log option of none": {`{"log-driver": "none", "log-opts": {"max-file": "3"}}`, "none"},
		"downloads":          {`{"max-concurrent-downloads": -1}`, "max-concurrent-downloads"},
		"CDI directory":      {`{"cdi-spec-dirs": ["cdi"]}`, "cdi-spec-dirs"},
		"name server":        {`{"dns": ["resolver"]}`, "resolver"},
		"key of dockerd":     {"{\n\"bip\": \"192.0.2.1/24\"\n}", "default-address-pools"},
		"other than it is":   {`{"live-restore": false}`, "live-restore"},
		"storage driver":     {`{"storage-driver": "zfs"}`, "zfs"},
		"feature":            {`{"features": {"buildkit": false}}`, "buildkit"},
		"cgroups of systemd": {`{"exec-opts": ["native.cgroupdriver=systemd"]}`, "native.cgroupdriver=cgroupfs"},
		"ulimit":             {`{"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 20, "Hard": 10}}}`, "nofile"},
		"unknown ulimit":     {`{"default-ulimits": {"files": {"Soft": 10, "Hard": 10}}}`, "files"},
		"IPC mode":           {`{"default-ipc-mode": "host"}`, "default-ipc-mode"},
		"cgroup namespace":   {`{"default-cgroupns-mode": "mine"}`, "default-cgroupns-mode"},
		"shm size":           {`{"default-shm-size": "much"}`, "much"},
		"MTU":                {`{"mtu": 20}`, "mtu"},
		"network driver":     {`{"default-network-opts": {"overlay": {}}}`, "overlay"},
		"network option":     {`{"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "x"}}}`, "driver.mtu"},
		"network's own name": {`{"default-network-opts": {"bridge": {"com.docker.network.bridge.name": "br0"}}}`, "bridge.name"},
		"label":              {`{"labels": ["=x"]}`, "labels"},
		"proxy":              {`{"proxies": {"http-proxy": "::"}}`, "http-proxy"},
		"address pool":       {`{"default-address-pools": [{"base": "10.0.0.0/16", "size": 8}]}`, "10.0.0.0/16"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, tc.content)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "daemon.json") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestEveryKeyIsRead(t *testing.T) {
	c, err := load(t, `{"data-root": "/d", "exec-root": "/e", "hosts": ["unix:///s"], "group": "g", "pidfile": "/p", "log-level": "warn", "containerd": "/c",
		"log-driver": "none", "insecure-registries": ["a"], "registry-mirrors": ["https://b"],
		"max-concurrent-downloads": 2, "max-concurrent-uploads": 4, "max-download-attempts": 6,
		"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}], "dns": ["192.0.2.1"], "dns-search": ["s"], "dns-opts": ["o"],
		"cdi-spec-dirs": ["/cdi", ""], "labels": ["a=b"], "debug": true, "mtu": 1400, "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1300"}},
		"init": true, "no-new-privileges": true, "default-shm-size": "8M", "default-ipc-mode": "shareable", "default-cgroupns-mode": "host", "cgroup-parent": "/p",
		"default-ulimits": {"nofile": {"Name": "nofile", "Soft": 10, "Hard": -1}, "core": {"Soft": 0, "Hard": 0}},
		"proxies": {"http-proxy": "http://proxy:3128", "https-proxy": "proxy:3128", "no-proxy": "example.org"},
		"live-restore": true, "storage-driver": "overlay2", "features": {"buildkit": true}, "exec-opts": ["native.cgroupdriver=cgroupfs"],
		"iptables": true, "ip6tables": true, "ip-forward": true, "userland-proxy": false}`)
	if err != nil {
		t.Fatal(err)
	}
	if r := c.registries(); r.Downloads != 2 || r.Uploads != 4 || r.Attempts != 6 || r.CertsDirs[1] != filepath.Join(filepath.Dir(c.file), "certs.d") {
		t.Errorf("registries %+v", r)
	}
	names, err := c.dns()
	if err != nil || len(names.Servers) != 1 || names.Servers[0].String() != "192.0.2.1" || names.Search[0] != "s" || names.Options[0] != "o" {
		t.Errorf("name service %+v, %v", names, err)
	}
	if dirs := c.cdiDirs(); len(dirs) != 1 || dirs[0] != "/cdi" {
		t.Errorf("CDI directories %q", dirs)
	}
	if p := c.pools(); len(p) != 1 || p[0].Base.String() != "10.9.0.0/16" || p[0].Size != 24 {
		t.Errorf("pools %v", p)
	}
	if c.DataRoot != "/d" || c.ExecRoot != "/e" || !c.Serves("/s") || c.Group != "g" || c.Pidfile != "/p" || c.LogLevel != "warn" || c.Containerd != "/c" ||
		c.LogDriver != "none" || c.InsecureRegistries[0] != "a" || c.RegistryMirrors[0] != "https://b" {
		t.Errorf("%+v", c)
	}
	d, err := c.Containers.defaults()
	if err != nil || !d.Init || !d.NoNewPrivileges || d.ShmSize != 8<<20 || d.IpcMode != "shareable" || d.CgroupnsMode != "host" || d.CgroupParent != "/p" ||
		len(d.Ulimits) != 2 || *d.Ulimits[0] != (container.Ulimit{Name: "core"}) || *d.Ulimits[1] != (container.Ulimit{Name: "nofile", Soft: 10, Hard: -1}) {
		t.Errorf("defaults %+v, %v", d, err)
	}
	if !c.Debug || c.Labels[0] != "a=b" || c.MTU != 1400 || len(c.NetworkOptions["bridge"]) != 1 || c.Proxies.HTTP == "" || c.Proxies.HTTPS == "" || c.Proxies.No == "" {
		t.Errorf("%+v", c)
	}
}
