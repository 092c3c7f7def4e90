package project

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
)

func TestSecretsAndConfigsOfAllKinds(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: safe
services:
  web:
    image: nginx
    secrets: [plain, token, {source: owned, target: /etc/owned, uid: "1", gid: "2", mode: 0440}]
    configs: [text, {source: other, target: /etc/other.conf, mode: "0600"}]
  build:
    build: {dockerfile_inline: FROM scratch, secrets: [token]}
secrets:
  plain: {file: ./plain}
  owned: {file: ./plain}
  token: {environment: TOKEN}
configs:
  text: {content: "greeting=${GREETING} $$5"}
  other: {environment: OTHER}
-- plain --
hush
`)
	load := func(token string) *Project {
		p, warnings, err := tryLoad(dir, Options{Environment: []string{"TOKEN=" + token, "OTHER=", "GREETING=hello"}})
		if err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
		return p
	}
	p := load("s3cr3t")
	web, _ := p.Service("web")
	want := []File{
		{Kind: "secret", Name: "token", Target: "/run/secrets/token", Mode: 0o444, Content: Content("s3cr3t")},
		{Kind: "secret", Name: "owned", Target: "/etc/owned", UID: 1, GID: 2, Mode: 0o440, Content: Content("hush\n")},
		{Kind: "config", Name: "text", Target: "/text", Mode: 0o444, Content: Content("greeting=hello $5")},
		{Kind: "config", Name: "other", Target: "/etc/other.conf", Mode: 0o600, Content: Content("")},
	}
	if diff := cmp.Diff(want, web.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if m := web.HostConfig.Mounts; len(m) != 1 || m[0].Source != filepath.Join(dir, "plain") {
		t.Errorf("mounts %v", m)
	}
	if build, _ := p.Service("build"); build.Build.Secrets[0].Value != "s3cr3t" {
		t.Error("the build has not got its secret")
	}
	// what is kept, printed and put into labels
	kept, err := json.Marshal(p.Withhold())
	if err != nil {
		t.Fatal(err)
	}
	told := string(kept) + fmt.Sprintf("%v %+v %#v %s %q %x", p, web.Files, web.Files[0].Content, web.Files[0].Content, web.Files[0].Content, web.Files[0].Content)
	if strings.Contains(told, "s3cr3t") || strings.Contains(told, fmt.Sprintf("%x", "s3cr3t")) || strings.Contains(told, "czNjcjN0") {
		t.Errorf("a secret is told: %s", told)
	}
	if other, _ := load("another").Service("web"); other.Hash != web.Hash || other.Files[0].Content.Digest() == web.Files[0].Content.Digest() {
		t.Error("a label depends on a secret, or nothing does")
	}
	if sent, _ := json.Marshal(p); !strings.Contains(string(sent), "czNjcjN0") {
		t.Error("the daemon is not told what the secret is")
	}
}

func TestBadSecretsAndConfigs(t *testing.T) {
	dir := write(t, `-- compose.yaml --
services:
  web:
    image: nginx
    secrets: [unset, {source: gone, mode: 0400}, {source: odd, uid: me}]
    configs: [{source: odd, mode: 07777}]
secrets:
  unset: {environment: NOBODY_SETS_THIS}
  gone: {file: ./gone}
  odd: {environment: HOME}
configs:
  odd: {content: x}
`)
	_, _, err := tryLoad(dir, Options{})
	checkError(t, dir, err, errdefs.ErrInvalidArgument,
		`compose.yaml:4:5: service "web": secret "odd": uid "me" is not a number`,
		`compose.yaml:5:5: service "web": config "odd": mode 7777 is not made of permission bits such as 0440`,
		`compose.yaml:7:3: service "web": secret "unset": the variable "NOBODY_SETS_THIS" is not set`,
		`compose.yaml:8:3: service "web": secret "gone": cannot use file "gone": no such file or directory`,
	)
}

func TestServicesAreTranslatedFurther(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shop
services:
  web:
    image: nginx
    attach: false
    gpus: all
    devices: ["vendor.com/class=one", "/dev/null"]
    external_links: ["outside:out", plain]
    links: ["db:store"]
    networks: {default: {interface_name: web0, driver_opts: {com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1, other: x}}}
    post_start:
      - command: [chown, "1", /data]
        user: root
        privileged: true
        working_dir: /tmp
        environment: [A=b, HOME, UNSET]
    pre_stop: [{command: echo bye}]
    deploy:
      mode: global
      endpoint_mode: vip
      labels: {a: b}
      placement: {constraints: [a]}
      update_config: {parallelism: 1}
      resources: {reservations: {cpus: "1", devices: [{driver: nvidia, count: 2, capabilities: [gpu, compute]}, {driver: cdi, device_ids: [a.com/b=c], capabilities: [gpu]}]}}
  db: {image: nginx}
networks:
  default: {enable_ipv4: false, enable_ipv6: true, driver_opts: {com.docker.network.bridge.name: br0, com.docker.network.driver.mtu: "1400"}}
`)
	p, warnings, err := tryLoad(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"compose.yaml:20:7: services.web.deploy.endpoint_mode: names resolve to the containers' addresses, in rotation",
		"compose.yaml:22:7: services.web.deploy.placement: it distributes containers over hosts, and there is one; it has no effect",
		"compose.yaml:23:7: services.web.deploy.update_config: it distributes containers over hosts, and there is one; it has no effect",
		"compose.yaml:24:34: services.web.deploy.resources.reservations.cpus: CPUs cannot be reserved on one host; use cpu_shares for a weight",
	}
	if diff := cmp.Diff(want, lines(warnings, dir)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	web, _ := p.Service("web")
	if !web.Quiet || web.Replicas != 1 || len(web.HostConfig.Devices) != 1 {
		t.Errorf("%+v", web)
	}
	for _, c := range []struct{ got, want any }{
		{web.HostConfig.DeviceRequests, []container.DeviceRequest{
			{Driver: "cdi", DeviceIDs: []string{"vendor.com/class=one"}},
			{Count: -1, Capabilities: [][]string{{"gpu"}}},
			{Driver: "nvidia", Count: 2, Capabilities: [][]string{{"gpu", "compute"}}},
			{Driver: "cdi", DeviceIDs: []string{"a.com/b=c"}},
		}},
		{web.Networks[0].Settings.Links, []string{"db:store", "outside:out"}},
		{web.Networks[0].Settings.DriverOpts, map[string]string{
			"com.docker.network.endpoint.ifname": "web0", "com.docker.network.endpoint.sysctls": "net.ipv4.conf.IFNAME.log_martians=1", "other": "x"}},
		{p.Networks[0].Create.Options, map[string]string{"com.docker.network.bridge.name": "br0", "com.docker.network.driver.mtu": "1400"}},
		{*p.Networks[0].Create.EnableIPv4, false},
		{web.PostStart, []Hook{{Command: []string{"chown", "1", "/data"}, User: "root", WorkingDir: "/tmp", Env: []string{"A=b", "HOME=/home/tester"}, Privileged: true}}},
		{web.PreStop, []Hook{{Command: []string{"echo", "bye"}}}},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}

	bad := write(t, `-- compose.yaml --
services:
  web:
    image: nginx
    external_links: [a]
    network_mode: none
    deploy: {mode: global, replicas: 2}
  db:
    image: nginx
    networks: {front: {driver_opts: {com.docker.network.endpoint.no: x}}}
networks:
  front: {driver_opts: {com.docker.network.bridge.no: x}}
`)
	_, _, err = tryLoad(bad, Options{})
	checkError(t, bad, err, errdefs.ErrInvalidArgument,
		`compose.yaml:4:5: service "web": external_links need a network of the project; remove them or network_mode`,
		`compose.yaml:6:28: service "web": mode: global is one container for the host, not 2 replicas; keep one of the two`,
	)
	repaired := write(t, `-- compose.yaml --
services:
  web: {image: nginx, networks: {front: {driver_opts: {com.docker.network.endpoint.no: x}}}}
networks:
  front: {driver_opts: {com.docker.network.bridge.no: x}}
`)
	_, _, err = tryLoad(repaired, Options{})
	checkError(t, repaired, err, errdefs.ErrInvalidArgument,
		`compose.yaml:2:56: service "web": option "com.docker.network.endpoint.no" of an endpoint is not supported`,
		`compose.yaml:4:25: network "front": option "com.docker.network.bridge.no" is not supported`,
	)
}
