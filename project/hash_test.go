package project

import (
	"path/filepath"
	"testing"
)

// The labels that Docker Compose 2.40 and 5.5 give these networks and volumes.
func TestObjectsHaveDockerComposesHashes(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: p4
services:
  s:
    image: busybox
    volumes: [vol:/v, wol:/w, xol:/x]
    networks: [default, front, back]
networks:
  front: {driver: bridge, labels: {a: b}, enable_ipv6: true}
  back:
    internal: true
    attachable: true
    name: other-name
    driver_opts: {com.docker.network.driver.mtu: "1400"}
    ipam: {driver: default, config: [{subnet: 10.77.6.0/24, gateway: 10.77.6.1, ip_range: 10.77.6.64/26, aux_addresses: {q: 10.77.6.9}}]}
    labels: [c=d]
volumes:
  vol: {}
  wol: {driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: size=2m}, labels: {l: m}}
  xol: {name: xx}
`)
	p, _, err := tryLoad(dir, Options{Files: []string{filepath.Join(dir, "compose.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"default": "86dfa26ddbe5f0a2f91920d14f5ea0a24c66e1b6712f12237fea5bdac3d4a67f",
		"front":   "f57e27319ccc7dbddd655c8c48a133f68fda118d8895b107862d63405a9e6f81",
		"back":    "3087f923e139de1bed226bda626e41877ac9896f6544f206fb84f864153e6090",
		"vol":     "e4a7db2adb85abe9e7f49286a0b88d9fa762d3e49199d90b81ffc4a772b150c5",
		"wol":     "c3f1f32fb5d17b81020f50965d47b09473b8b8ef472359201f8c6c4c71ae30c0",
		"xol":     "943d83eb8c72cced6aba04cde159f7cedf904eabd5c5986919466784ba4cff29",
	}
	got := map[string]string{}
	for _, n := range p.Networks {
		got[n.Key] = n.Create.Labels[LabelHash]
	}
	for _, v := range p.Volumes {
		got[v.Key] = v.Labels[LabelHash]
	}
	for key, hash := range want {
		if got[key] != hash {
			t.Errorf("%s: %q, want %q", key, got[key], hash)
		}
	}
}
