package build_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	moby "github.com/moby/moby/client"
)

// buildx and Docker Compose take what BuildKit says of itself and of an image
// for what a Docker engine says.
func TestBuildKitSpeaksAsADockerEngine(t *testing.T) {
	t.Parallel()
	h := start(t)
	files := map[string]string{"Dockerfile": "FROM " + image + "\nRUN echo built > /file\n"}
	names := []string{"app", "app", "other"} // one image, and two digests of indexes with it
	ids := make([]string, len(names))
	for i, name := range names {
		text, said, err := h.solved(name, files, map[string]string{"attest:provenance": "mode=min"})
		if err != nil || !strings.Contains(text, "exporting attestation manifest") {
			t.Fatalf("%v\n%s", err, text)
		}
		if ids[i] = said[exptypes.ExporterImageDigestKey]; ids[i] != said[exptypes.ExporterImageConfigDigestKey] {
			t.Errorf("two IDs: %v", said)
		}
	}
	if id := strings.TrimSpace(h.MustDocker("image", "inspect", "--format", "{{.Id}}", "app")); slices.ContainsFunc(ids, func(told string) bool { return told != id }) {
		t.Errorf("the image %s was told to be %v", id, ids)
	}
	if _, _, err := h.solved("", files, map[string]string{"attest:provenance": "mode=min"}); err != nil {
		t.Fatal(err)
	}
	if got := h.MustDocker("image", "inspect", "--format", "{{.RepoTags}} {{len .RepoDigests}}", "app"); got != "[app:latest other:latest] 2\n" {
		t.Errorf("after a build without a name: %s", got)
	}
	if got := h.MustDocker("images", "--format", "{{.Repository}}"); strings.Contains(got, "dangling") || strings.Contains(got, "none") {
		t.Errorf("there are %q", got)
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
	if a, err := h.classic(tarred(t, map[string]string{"Dockerfile": dockerfile}), moby.ImageBuildOptions{ExtraHosts: []string{"me:host-gateway", "other:10.9.8.7"}, NoCache: true}); err != nil || a.fail != nil {
		t.Errorf("%v %v\n%s", err, a.fail, a.text)
	}
	dir := h.Project("shop", "services: {web: {build: {context: ., extra_hosts: {me: host-gateway, other: 10.9.8.7}}}}\n", "Dockerfile", dockerfile)
	h.Must(dir, "build", "--no-cache")
	h.MustDocker("image", "rm", "app", "other", "shop-web")
	h.MustDocker("image", "prune", "-f")
}
