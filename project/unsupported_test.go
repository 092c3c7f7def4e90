package project

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func TestAllUnsupportedKeysAreListedAtOnce(t *testing.T) {
	dir := write(t, `-- compose.yaml --
include: [parts/part.yaml]
x-hooks: &hooks
  pre_start: [{command: x}]
services:
  web:
    <<: *hooks
    image: nginx
    build: {isolation: hyperv}
    links: ["app:"]
    volumes_from: ["app:zz"]
    logging: {driver: syslog, options: {dir: x, max-size: 1m}}
    volumes:
      - data:/data:U
      - {type: cluster, source: nginx, target: /image}
    deploy:
      mode: global-job
      endpoint_mode: other
    extends: {file: parts/base.yaml, service: base}
    storage_opt: {size: 1g}
    gpus: []
    # nothing here
  app:
    image: nginx
    network_mode: their-network
    userns_mode: ${MODE:-keep-id}
    secrets: [token]
    external_links: ["a:b:c"]
    x-mine: {build: .}
  off:
    image: nginx
    profiles: [off]
    build: .
volumes:
  data: {driver: nfs}
  unused: {driver: nfs}
secrets:
  token: {external: true}
jobs: {}
-- compose.override.yaml --
services:
  app:
    network_mode: !reset null
-- parts/base.yaml --
services:
  base:
    runtime: kata
  unrelated:
    build: .
-- parts/part.yaml --
services:
  part:
    image: nginx
    provider: {type: model}
    network_mode: their-network
`)
	want := []string{
		"compose.yaml:3:3: services.web.pre_start: Gantry does not run containers as hooks; use a service and depends_on with service_completed_successfully",
		`compose.yaml:8:13: services.web.build.isolation: "hyperv" is not supported: it applies to Windows containers only; remove it`,
		`compose.yaml:9:13: services.web.links.0: "app:" is not supported: use SERVICE or SERVICE:ALIAS`,
		`compose.yaml:10:20: services.web.volumes_from.0: "app:zz" is not supported: use SERVICE, SERVICE:ro or SERVICE:rw`,
		`compose.yaml:11:15: services.web.logging.driver: "syslog" is not supported: use json-file, local or none`,
		"compose.yaml:11:41: services.web.logging.options.dir: this log option is not supported; use max-size and max-file",
		`compose.yaml:13:9: services.web.volumes.0: mount option "U" is not supported; use ro, rw, nocopy, rprivate, private, rshared, shared, rslave, slave, consistent, cached, delegated`,
		`compose.yaml:14:10: services.web.volumes.1.type: "cluster" is not supported: use bind, volume, tmpfs or image`,
		`compose.yaml:16:7: services.web.deploy.mode: "global-job" is not supported: use replicated or global`,
		`compose.yaml:17:7: services.web.deploy.endpoint_mode: "other" is not supported: use dnsrr`,
		"compose.yaml:19:5: services.web.storage_opt: overlayfs has no options for one container; remove it",
		`compose.yaml:25:5: services.app.userns_mode: "keep-id" is not supported: containers share the host's user namespace; use host or remove it`,
		`compose.yaml:27:22: services.app.external_links.0: "a:b:c" is not supported: use CONTAINER or CONTAINER:ALIAS`,
		`compose.yaml:34:10: volumes.data.driver: "nfs" is not supported: use local`,
		`compose.yaml:37:11: secrets.token.external: "true" is not supported: there is no store of them on this host; use file, environment or, for a config, content`,
		`parts/base.yaml:3:5: services.web.runtime: "kata" is not supported: use runc`,
		"parts/part.yaml:4:5: services.part.provider: Gantry runs containers only; remove it",
		`parts/part.yaml:5:5: services.part.network_mode: "their-network" is not supported: use bridge, host, none, service:NAME or container:NAME, or the key networks`,
	}
	opts := Options{Files: []string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "compose.override.yaml")}}
	_, _, err := tryLoad(dir, opts)
	checkError(t, dir, err, errdefs.ErrNotImplemented, append(slices.Clone(want), unsupportedHint)...)

	var list *Error
	if !errors.As(err, &list) || len(list.Problems) != len(want) {
		t.Fatalf("the error does not list its problems: %#v", err)
	}

	opts.IgnoreUnsupported = true
	p, warnings, err := tryLoad(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, lines(warnings, dir)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	web, _ := p.Service("web")
	if len(web.HostConfig.Mounts) != 1 {
		t.Errorf("the cluster mount should be left out: %v", web.HostConfig.Mounts)
	}
	if app, _ := p.Service("app"); len(app.Files) != 0 || len(app.Networks) != 1 || len(app.Networks[0].Settings.Links) != 0 {
		t.Errorf("what is not supported should be left out: %+v", app)
	}
	if part, _ := p.Service("part"); part.HostConfig.NetworkMode != "bridge" {
		t.Errorf("network mode %q", part.HostConfig.NetworkMode)
	}
}

func TestKeysThatChangeNothingAreWarnedAbout(t *testing.T) {
	dir := write(t, `-- compose.yaml --
version: "3.8"
services:
  web:
    image: nginx:${TAG}
    volumes: ["./a:/a:z", {type: bind, source: ./b, target: /b, bind: {selinux: Z}}]
    init: yes
    logging: {options: {compress: "true", mode: non-blocking, max-buffer-size: 4m}}
    cpu_percent: 50
    security_opt: ["label:type:svirt_t", "label=disable"]
    credential_spec: {file: x}
    gpus: [{capabilities: [gpu], options: {a: b}}]
    deploy: {update_config: {parallelism: 2}, placement: {constraints: [a]}, labels: {a: b}, endpoint_mode: vip}
`)
	want := []string{
		`"yes" for boolean is not supported by YAML 1.2, please use ` + "`true`",
		`compose.yaml:4:12: The "TAG" variable is not set. Defaulting to a blank string.`,
		"compose.yaml:1:1: version: this key is obsolete and without effect; remove it",
		"compose.yaml:5:15: services.web.volumes.0: files are not relabelled for SELinux; without SELinux nothing is missing",
		"compose.yaml:5:72: services.web.volumes.1.bind.selinux: files are not relabelled for SELinux; without SELinux nothing is missing",
		"compose.yaml:7:25: services.web.logging.options.compress: files that were rotated are not compressed; max-size and max-file bound them",
		"compose.yaml:8:5: services.web.cpu_percent: it applies to Windows containers only; it has no effect",
		"compose.yaml:9:20: services.web.security_opt.0: SELinux labels are not set; without SELinux nothing is missing",
		"compose.yaml:10:5: services.web.credential_spec: it applies to Windows containers only; it has no effect",
		"compose.yaml:11:34: services.web.gpus.0.options: a CDI specification decides about its devices; they have no effect",
		"compose.yaml:12:14: services.web.deploy.update_config: it distributes containers over hosts, and there is one; it has no effect",
		"compose.yaml:12:47: services.web.deploy.placement: it distributes containers over hosts, and there is one; it has no effect",
		"compose.yaml:12:94: services.web.deploy.endpoint_mode: names resolve to the containers' addresses, in rotation",
	}
	_, warnings, err := tryLoad(dir, Options{})
	if err == nil || !strings.Contains(err.Error(), `"nginx:" is not valid`) {
		t.Errorf("error %v", err)
	}
	got := lines(warnings, dir)
	if diff := cmp.Diff(want, got); diff != "" {
		// YAML 1.2 leaves "yes" a string, so that the first warning stays
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// What a later file resets, replaces or allows is no longer a problem.
func TestLaterFilesCanRemoveUnsupportedKeys(t *testing.T) {
	dir := write(t, `-- compose.yaml --
services:
  web:
    image: nginx
    build: {context: .}
    links: ["other:o"]
    logging: {driver: syslog}
    volumes: ["./a:/a:U"]
    ports: [80]
  other: {image: nginx}
-- over.yaml --
services:
  web:
    build: !reset null
    links: !reset []
    logging: {driver: json-file}
    volumes: !override ["./a:/a"]
`)
	p, warnings, err := tryLoad(dir, Options{Files: []string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "over.yaml")}})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v", err, warnings)
	}
	web, _ := p.Service("web")
	if at := web.Positions["volumes.0"]; filepath.Base(at.File) != "over.yaml" || at.Line != 6 {
		t.Errorf("volumes.0 stands at %v", at)
	}
	if at := web.Positions["ports.0"]; filepath.Base(at.File) != "compose.yaml" || at.Line != 8 {
		t.Errorf("ports.0 stands at %v", at)
	}
}

func TestPositionsFollowTheMerge(t *testing.T) {
	dir := write(t, `-- compose.yaml --
x-base: &base
  restart: always
services:
  web:
    <<: *base
    extends: {file: base.yaml, service: base}
    image: nginx
    ports: ["8080:80", "9000-9001:90-91"]
    networks: {front: {aliases: [a]}, default: }
networks: {front: }
-- base.yaml --
services:
  base:
    image: busybox
    command: sleep 1
    ports: ["7070:70"]
-- over.yaml --
services:
  web:
    image: nginx:2
    ports:
      - "8081:81"
`)
	p, _, err := tryLoad(dir, Options{Files: []string{filepath.Join(dir, "compose.yaml"), filepath.Join(dir, "over.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := p.Service("web")
	got := map[string]string{"": web.Source.String()}
	for _, path := range []string{"image", "command", "restart", "ports.7070/tcp", "ports.8080/tcp", "ports.9001/tcp", "ports.8081/tcp", "networks.front"} {
		got[path] = web.Positions[path].String()
	}
	for _, a := range web.Networks {
		got["attachment "+a.Network] = a.Source.String()
	}
	for _, n := range p.Networks {
		got["network "+n.Key] = n.Source.String()
	}
	for k, v := range got {
		got[k] = strings.TrimPrefix(v, dir+"/")
	}
	want := map[string]string{
		"":               "over.yaml:2:3",
		"image":          "over.yaml:3:5",
		"command":        "base.yaml:4:5",
		"restart":        "compose.yaml:2:3",
		"ports.7070/tcp": "base.yaml:5:13", "ports.8080/tcp": "compose.yaml:8:13", "ports.9001/tcp": "compose.yaml:8:24",
		"ports.8081/tcp": "over.yaml:5:9", "networks.front": "compose.yaml:9:16",
		"attachment front": "compose.yaml:9:16", "attachment default": "compose.yaml:9:39",
		"network front": "compose.yaml:10:12", "network default": "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("positions (-want +got):\n%s", diff)
	}
}
