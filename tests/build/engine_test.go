package build_test

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
)

// buildx and Docker Compose take what BuildKit says of itself and of an image
// for what a Docker engine says.
func TestBuildKitSpeaksAsADockerEngine(t *testing.T) {
	t.Parallel()
	h := start(t)
	files := map[string]string{"Dockerfile": "FROM " + image + "\nRUN echo built > /file\n"}
	var ids [2]string
	for i := range ids {
		text, said, err := h.solved("app", files, map[string]string{"attest:provenance": "mode=min"})
		if err != nil || !strings.Contains(text, "exporting attestation manifest") {
			t.Fatalf("%v\n%s", err, text)
		}
		if ids[i] = said[exptypes.ExporterImageDigestKey]; ids[i] != said[exptypes.ExporterImageConfigDigestKey] {
			t.Errorf("two IDs: %v", said)
		}
	}
	if id := strings.TrimSpace(h.MustDocker("image", "inspect", "--format", "{{.Id}}", "app")); ids[0] != id || ids[1] != id {
		t.Errorf("the image %s was told to be %v", id, ids)
	}
	workers, err := h.ListWorkers(h.ctx)
	if err != nil || len(workers) != 1 {
		t.Fatalf("%v %v", workers, err)
	}
	gateway := strings.TrimSpace(h.MustDocker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"))
	if label := workers[0].Labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"]; label != gateway || gateway == "" {
		t.Errorf("host-gateway is %q, the network's %q", label, gateway)
	}
	info, err := h.Info(h.ctx)
	if err != nil || strings.Contains(info.BuildkitVersion.Version, "unknown") {
		t.Errorf("%+v %v", info, err)
	}
	dockerfile := "FROM " + image + "\nRUN grep -q \"^" + gateway + "[[:space:]]*me$\" /etc/hosts\nRUN grep -q \"^10.9.8.7[[:space:]]*other$\" /etc/hosts\n"
	if r := h.DockerInput(dockerfile, "build", "--add-host", "me:host-gateway", "--add-host", "other=10.9.8.7", "-"); r.Code != 0 {
		t.Error(r)
	}
	dir := h.Project("shop", "services: {web: {build: {context: ., extra_hosts: {me: host-gateway, other: 10.9.8.7}}}}\n", "Dockerfile", dockerfile)
	h.Must(dir, "build", "--no-cache")
	h.MustDocker("image", "rm", "app", "shop-web")
	h.MustDocker("image", "prune", "-f")
}
