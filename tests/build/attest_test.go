package build_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// scanner writes an SBOM as BuildKit asks scanners to. Source: buildkit,
// docs/attestations/sbom-protocol.md.
const scanner = "FROM " + image + `
COPY <<"EOT" /scan
#!/bin/sh
cat > $BUILDKIT_SCAN_DESTINATION/found.spdx.json <<EOF
{"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://spdx.dev/Document", "predicate": {"name": "scanned $(cat $BUILDKIT_SCAN_SOURCE/made)"}}
EOF
EOT
ENTRYPOINT ["/bin/sh", "/scan"]
`

// remote reads a manifest of a registry.
func remote(t *testing.T, ref string, to any) {
	t.Helper()
	out, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref).Output()
	if err == nil {
		err = json.Unmarshal(out, to)
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", ref, err, out)
	}
}

// What is said of an image goes where it goes: when it is asked for, and only
// then.
func TestImagesCarryAttestations(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	reg := harness.Registry(t, "", "")
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN --mount=type=secret,id=token echo made > /made\nCMD cat /made\n")
	if r := d.DockerInput(scanner, "build", "-q", "-t", "scanner", "-"); r.Code != 0 {
		t.Fatal(r)
	}
	d.MustDocker("build", "-q", "-t", reg+"/plain", "--push", "ctx")
	var plain ocispec.Manifest
	if remote(t, reg+"/plain", &plain); len(plain.Layers) != 2 {
		t.Errorf("without attestations it is %+v", plain)
	}
	d.MustDocker("build", "-t", reg+"/app", "--push", "--provenance=mode=max", "--sbom=generator=scanner", "--annotation", "index,manifest:note=this", "ctx")
	var index ocispec.Index
	remote(t, reg+"/app", &index)
	if len(index.Manifests) != 2 || index.Manifests[1].Annotations["vnd.docker.reference.type"] != "attestation-manifest" || index.Annotations["note"] != "this" {
		t.Fatalf("index %+v", index)
	}
	var about, itself ocispec.Manifest
	if remote(t, reg+"/app@"+string(index.Manifests[0].Digest), &itself); itself.Annotations["note"] != "this" {
		t.Errorf("manifest %+v", itself)
	}
	said := map[string]bool{}
	remote(t, reg+"/app@"+string(index.Manifests[1].Digest), &about)
	for _, l := range about.Layers {
		said[l.Annotations["in-toto.io/predicate-type"]] = true
	}
	if !said["https://spdx.dev/Document"] || !said["https://slsa.dev/provenance/v1"] && !said["https://slsa.dev/provenance/v0.2"] {
		t.Errorf("it says %v", said)
	}
	d.MustDocker("build", "-q", "--provenance=mode=max", "--attest", "type=sbom,generator=scanner", "-o", "out", "ctx")
	if data, _ := os.ReadFile(filepath.Join(d.Dir, "out/found.spdx.json")); !strings.Contains(string(data), "scanned made") {
		t.Errorf("the SBOM says %s", data)
	}
	if data, _ := os.ReadFile(filepath.Join(d.Dir, "out/provenance.json")); !strings.Contains(string(data), "echo made") || !strings.Contains(string(data), `"secrets": [`) {
		t.Errorf("the provenance says %s", data)
	}

	// images that are alike but for what is said of them
	id := strings.TrimSpace(d.MustDocker("build", "-q", "--provenance=true", "-t", "said", "ctx"))
	if got := d.MustDocker("run", "--rm", id); got != "made\n" {
		t.Errorf("the image that was printed says %q", got)
	}
	d.MustDocker("tag", "said", reg+"/tagged")
	d.MustDocker("push", "-q", reg+"/tagged")
	index = ocispec.Index{}
	if remote(t, reg+"/tagged", &index); len(index.Manifests) != 2 {
		t.Errorf("what was tagged and pushed is %+v", index)
	}
	d.MustDocker("save", "-o", "said.tar", "said")
	d.MustDocker("image", "rm", "said", reg+"/tagged")
	d.MustDocker("load", "-i", "said.tar")
	d.MustDocker("tag", "said", reg+"/loaded")
	d.MustDocker("push", "-q", reg+"/loaded")
	loaded := ocispec.Index{}
	if remote(t, reg+"/loaded", &loaded); len(loaded.Manifests) != 2 || loaded.Manifests[1].Digest != index.Manifests[1].Digest {
		t.Errorf("what was saved and loaded is %+v", loaded)
	}
	d.MustDocker("image", "rm", "said", reg+"/loaded")

	dir := d.Project("said", "services:\n  web:\n    image: "+reg+"/web\n    build: {context: ../ctx, provenance: mode=min, sbom: generator=scanner}\n")
	d.Must(dir, "build", "--push")
	index = ocispec.Index{}
	remote(t, reg+"/web", &index)
	if len(index.Manifests) != 2 || index.Manifests[1].Annotations["vnd.docker.reference.type"] != "attestation-manifest" {
		t.Errorf("the project's image is %+v", index)
	}
	d.Must(dir, "build", "--push", "--provenance=false", "--sbom=false")
	plain = ocispec.Manifest{}
	if remote(t, reg+"/web", &plain); len(plain.Layers) != 2 {
		t.Errorf("without attestations the project's image is %+v", plain)
	}
	for _, ref := range []string{reg + "/app", reg + "/web", reg + "/plain"} {
		if got := d.MustDocker("run", "--rm", ref); got != "made\n" {
			t.Errorf("%s says %q", ref, got)
		}
	}
	d.MustDocker("image", "rm", reg+"/app", reg+"/web", reg+"/plain", "scanner")
}
