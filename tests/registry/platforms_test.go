package registry_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"

	mobyimage "github.com/moby/moby/api/types/image"
	moby "github.com/moby/moby/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const foreign = "linux/s390x"

var own = "linux/" + runtime.GOARCH

// forTwo builds an image for this host and a foreign platform and pushes it,
// with provenance; it is not here any more then, also as cache. Returns the
// digest of its index.
func forTwo(d *harness.Daemon, ref string) string {
	d.T.Helper()
	d.Write("Dockerfile", "FROM --platform=$BUILDPLATFORM "+image+" AS b\nARG TARGETPLATFORM\nRUN echo $TARGETPLATFORM > /for && head -c 1000000 /dev/urandom > /noise\n"+
		"FROM scratch\nCOPY --from=b /bin /bin\nCOPY --from=b /for /noise /\nCMD [\"cat\", \"/for\"]\n")
	d.MustDocker("build", "--platform", own+","+foreign, "--provenance=mode=min", "-t", ref, d.Dir)
	d.MustDocker("push", "-q", ref)
	d.MustDocker("rmi", ref)
	d.MustDocker("builder", "prune", "-af")
	return digestOf(d.T, ref)
}

type manifests struct {
	Manifests []struct {
		Digest      string
		Annotations map[string]string
		Platform    struct{ OS, Architecture string }
	}
}

func raw(t testing.TB, ref string) []byte {
	t.Helper()
	out, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+ref).Output()
	if err != nil {
		t.Fatalf("skopeo inspect %s: %v", ref, err)
	}
	return out
}

func digestOf(t testing.TB, ref string) string {
	t.Helper()
	return fmt.Sprintf("sha256:%x", sha256.Sum256(raw(t, ref)))
}

// child is the digest of the manifest for a platform, of its attestation for "".
func child(t testing.TB, ref, platform string) string {
	t.Helper()
	var index manifests
	if err := json.Unmarshal(raw(t, ref), &index); err != nil {
		t.Fatal(err)
	}
	for _, m := range index.Manifests {
		if m.Platform.OS+"/"+m.Platform.Architecture == platform || platform == "" && len(m.Annotations) > 0 {
			return m.Digest
		}
	}
	t.Fatalf("%s has no %q: %+v", ref, platform, index)
	return ""
}

func runs(d *harness.Daemon, args ...string) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker(append([]string{"run", "--rm", "--pull", "never"}, args...)...))
}

func inspected(d *harness.Daemon, format string, args ...string) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker(append([]string{"image", "inspect", "--format", format}, args...)...))
}

// The platforms of an image come and go one by one; its digest stays.
func TestPlatformsComeAndGo(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	ref := addr + "/two:1"
	digest := forTwo(d, ref)

	d.MustDocker("pull", "--platform", foreign, ref)
	if got := runs(d, ref); got != foreign {
		t.Errorf("what alone is here runs as %q", got)
	}
	lone := inspected(d, "{{.Id}}", ref)
	if r := d.FailDocker("run", "--rm", "--pull", "never", "--platform", own, ref); !strings.Contains(r.Stderr, "does not provide the specified platform") {
		t.Errorf("a platform that is not here: %v", r)
	}
	if got := strings.TrimSpace(d.MustDocker("run", "--rm", "--quiet", "--platform", own, ref)); got != own {
		t.Errorf("run did not pull it: %q", got)
	}
	if runs(d, ref) != own || runs(d, "--platform", foreign, ref) != foreign {
		t.Error("they do not run beside each other")
	}
	if inspected(d, "{{.Id}}", "--platform", foreign, ref) != lone || inspected(d, "{{.Architecture}}", lone) != "s390x" {
		t.Error("the ID of the foreign one changed")
	}
	if want := "[" + addr + "/two@" + digest + "]"; inspected(d, "{{.RepoDigests}}", ref) != want || inspected(d, "{{.RepoDigests}}", "--platform", foreign, ref) != want {
		t.Errorf("digests %s", inspected(d, "{{.RepoDigests}}", ref))
	}
	if out := d.MustDocker("images", "--tree"); strings.Count(out, "linux/") != 3 || strings.Contains(out, "unknown") {
		t.Errorf("platforms shown: %s", out)
	}
	if out := d.MustDocker("history", "-q", "--platform", foreign, ref); !strings.Contains(out, strings.TrimPrefix(lone, "sha256:")[:12]) {
		t.Errorf("its history: %s", out)
	}

	for types, want := range map[string]int{"https://slsa.dev/provenance/v1": 1, "https://spdx.dev/Document": 0} {
		got := attestations(t, d, ref, types)
		if len(got) != want || want == 1 && (got[0].PredicateType != types || got[0].Statement == nil || !strings.Contains(string(*got[0].Statement), "buildDefinition")) {
			t.Errorf("attestations of type %s: %+v", types, got)
		}
	}

	held := strings.TrimSpace(d.MustDocker("create", "--platform", foreign, ref))
	if r := d.FailDocker("rmi", "--platform", foreign, ref); !strings.Contains(r.Stderr, "must be forced") || !strings.Contains(r.Stderr, held[:12]) {
		t.Errorf("a platform that a container uses: %v", r)
	}
	if r := d.FailDocker("rmi", ref); !strings.Contains(r.Stderr, held[:12]) {
		t.Errorf("an image of which a container uses a platform: %v", r)
	}
	if out := d.MustDocker("ps", "-aq", "--filter", "ancestor="+ref); out == "" {
		t.Error("the container has no ancestor")
	}
	if out := d.MustDocker("ps", "-a", "--format", "{{.Image}}"); strings.TrimSpace(out) != ref {
		t.Errorf("its image is shown as %s", out)
	}
	d.MustDocker("image", "prune", "-af")
	d.MustDocker("rm", held)
	before := taken(t, d)
	d.MustDocker("rmi", "--platform", foreign, ref)
	if gone := before - taken(t, d); gone < 1000000 {
		t.Errorf("only %d bytes were given back", gone)
	}
	if runs(d, ref) != own {
		t.Error("the other platform went, too")
	}
	d.MustDocker("rmi", "--platform", own, ref)
	if out := d.MustDocker("images", "-aq", addr+"/two"); out != "" {
		t.Errorf("without a platform there is %s", out)
	}
}

func attestations(t *testing.T, d *harness.Daemon, ref, kind string) []mobyimage.AttestationStatement {
	t.Helper()
	engine, err := moby.New(moby.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	got, err := engine.ImageAttestations(t.Context(), ref, moby.ImageAttestationsWithPlatform(ocispec.Platform{OS: "linux", Architecture: "s390x"}),
		moby.ImageAttestationsWithPredicateTypes(kind), moby.ImageAttestationsWithStatement())
	if err != nil {
		t.Fatal(err)
	}
	return got.Items
}

// taken is how many bytes contents and layers have on the disk.
func taken(t *testing.T, d *harness.Daemon) (n int64) {
	t.Helper()
	out, err := exec.Command("du", "-sb", filepath.Join(d.Data(), "containerd/io.containerd.content.v1.content/blobs"), filepath.Join(d.Data(), "containerd/io.containerd.snapshotter.v1.overlayfs/snapshots")).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var one int64
		fmt.Sscan(line, &one)
		n += one
	}
	return n
}

// What was pulled is pushed as it came, with its attestations, and never less
// than a registry has already.
func TestPushKeepsTheIndex(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr, elsewhere := harness.Registry(t, "", ""), harness.Registry(t, "", "")
	ref := addr + "/two:1"
	digest := forTwo(d, ref)

	d.MustDocker("pull", ref)
	d.MustDocker("tag", ref, addr+"/two:again")
	d.MustDocker("push", addr+"/two:again") // the registry has the platform that is not here
	if got := digestOf(t, addr+"/two:again"); got != digest {
		t.Errorf("tagged and pushed, %s is %s", digest, got)
	}
	d.MustDocker("tag", ref, elsewhere+"/two:1")
	r := d.Docker("push", elsewhere+"/two:1")
	if r.Code != 0 || !strings.Contains(r.Stdout+r.Stderr, "only the available single-platform image was pushed") {
		t.Errorf("an image of which one platform is here: %v", r)
	}
	if got := digestOf(t, elsewhere+"/two:1"); got != child(t, ref, own) {
		t.Errorf("the other registry got %s", got)
	}
	d.MustDocker("pull", "--platform", foreign, ref)
	d.MustDocker("push", elsewhere+"/two:1")
	if got := digestOf(t, elsewhere+"/two:1"); got != digest {
		t.Errorf("with all platforms, the other registry got %s, not %s", got, digest)
	}
	d.MustDocker("tag", ref, elsewhere+"/one:1")
	d.MustDocker("push", "--platform", foreign, elsewhere+"/one:1")
	if got := digestOf(t, elsewhere+"/one:1"); got != child(t, ref, foreign) {
		t.Errorf("of the foreign platform, the other registry got %s", got)
	}

	// archives: all that is here, or what is asked for
	for _, args := range [][]string{nil, {"--platform", own + "," + foreign}} {
		file := filepath.Join(d.Dir, "both.tar")
		d.MustDocker(append([]string{"save", "-o", file, ref}, args...)...)
		d.MustDocker("image", "prune", "-af")
		d.MustDocker("load", "-i", file)
		if runs(d, ref) != own || runs(d, "--platform", foreign, ref) != foreign {
			t.Errorf("save %q and load lost a platform", args)
		}
		if got := inspected(d, "{{.RepoDigests}}", ref); got != "["+addr+"/two@"+digest+"]" {
			t.Errorf("after save %q and load, digests %s", args, got)
		}
	}
	file := filepath.Join(d.Dir, "one.tar")
	d.MustDocker("save", "--platform", foreign, "-o", file, ref)
	d.MustDocker("image", "prune", "-af")
	d.FailDocker("load", "--platform", own, "-i", file)
	d.MustDocker("load", "-i", file)
	if got := inspected(d, "{{.Architecture}} {{.RepoDigests}}", ref); got != "s390x ["+addr+"/two@"+child(t, ref, foreign)+"]" {
		t.Errorf("saved for one platform, it is %s", got)
	}
	both := filepath.Join(d.Dir, "both.tar")
	d.MustDocker("rmi", ref)
	d.MustDocker("load", "--platform", own, "-i", both)
	if runs(d, ref) != own {
		t.Error("load of one platform loaded another one")
	}
	if r := d.FailDocker("run", "--rm", "--pull", "never", "--platform", foreign, ref); !strings.Contains(r.Stderr, foreign) {
		t.Errorf("load of one platform loaded the other, too: %v", r)
	}
}

// Digests name indexes and manifests, of OCI's and Docker's formats.
func TestImagesByDigest(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	forTwo(d, addr+"/two:1")
	out, err := exec.Command("skopeo", "copy", "--all", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2",
		"docker://"+addr+"/two:1", "docker://"+addr+"/docker:1").CombinedOutput()
	if err != nil {
		t.Logf("skopeo: %s", out) // attestations have no place in Docker's format
		for _, p := range []string{own, foreign} {
			tag := addr + "/docker:" + strings.ReplaceAll(p, "/", "-")
			if out, err := exec.Command("skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2",
				"docker://"+addr+"/two@"+child(t, addr+"/two:1", p), "docker://"+tag).CombinedOutput(); err != nil {
				t.Fatalf("skopeo: %v: %s", err, out)
			}
		}
		// a manifest list of Docker's, as docker manifest makes it
		d.MustDocker("manifest", "create", "--insecure", addr+"/docker:1", addr+"/docker:"+strings.ReplaceAll(own, "/", "-"), addr+"/docker:"+strings.ReplaceAll(foreign, "/", "-"))
		d.MustDocker("manifest", "annotate", "--os", "linux", "--arch", "s390x", addr+"/docker:1", addr+"/docker:"+strings.ReplaceAll(foreign, "/", "-"))
		d.MustDocker("manifest", "push", "--insecure", "--purge", addr+"/docker:1")
	}
	for _, repo := range []string{addr + "/two", addr + "/docker"} {
		index := digestOf(t, repo+":1")
		byTag, byDigest, byChild := repo+":1@"+index, repo+"@"+index, repo+"@"+child(t, repo+":1", foreign)
		d.MustDocker("pull", byTag)
		if runs(d, byTag) != own || runs(d, byDigest) != own {
			t.Errorf("%s is not for this host", byDigest)
		}
		d.MustDocker("pull", byChild)
		if got := runs(d, byChild); got != foreign {
			t.Errorf("%s is for %s", byChild, got)
		}
		if got := inspected(d, "{{.RepoTags}} {{.RepoDigests}}", byChild); got != "[] ["+byChild+"]" {
			t.Errorf("%s is called %s", byChild, got)
		}
		if out := d.MustDocker("images", "-a", "--digests", "--format", "{{.Repository}}@{{.Digest}}"); !strings.Contains(out, byChild) || !strings.Contains(out, byDigest) {
			t.Errorf("digests listed: %s", out)
		}
		d.MustDocker("tag", byDigest, repo+":2")
		d.MustDocker("push", repo+":2")
		if got := digestOf(t, repo+":2"); got != index {
			t.Errorf("%s was pushed as %s", index, got)
		}
		dir := d.Project("pinned", "name: pinned\nservices:\n  a:\n    image: "+byTag+"\n  b:\n    image: "+repo+":1\n    platform: "+foreign+"\n")
		d.MustDocker("rmi", repo+":2", byChild) // with the last tag goes the digest
		d.Must(dir, "up", "-d")
		if a, b := d.Must(dir, "logs", "-f", "--no-log-prefix", "a"), d.Must(dir, "logs", "-f", "--no-log-prefix", "b"); strings.TrimSpace(a) != own || strings.TrimSpace(b) != foreign {
			t.Errorf("services run on %q and %q", a, b)
		}
		if out := d.Must(dir, "up", "-d", "--dry-run"); strings.Contains(out, repo) {
			t.Errorf("up is not done: %s", out)
		}
		d.Must(dir, "down", "--rmi", "all")
	}
	if r := d.FailDocker("pull", addr+"/two@"+child(t, addr+"/two:1", "")); !strings.Contains(r.Stderr, "attestation") {
		t.Errorf("an attestation was pulled: %v", r)
	}
	if out := d.MustDocker("images", "-a", "--digests"); strings.Count(out, "\n") != 2 {
		t.Errorf("images left:\n%s", out)
	}
}

// A platform of which a part has come is not here; the one that was stays.
func TestDaemonKilledInAPullOfAFurtherPlatform(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:own", []string{"--dest-decompress"})
	harness.Push(t, addr+"/app:foreign", []string{"--dest-decompress"}, layered(), busybox.Arch("s390x"))
	d.MustDocker("manifest", "create", "--insecure", addr+"/app:1", addr+"/app:own", addr+"/app:foreign")
	d.MustDocker("manifest", "push", "--insecure", "--purge", addr+"/app:1")
	f, through := newFront(t, addr)
	ref := through + "/app:1"
	d.MustDocker("pull", ref)
	pull := d.DockerCommand(d.Dir, "pull", "--platform", foreign, ref)
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, f.half)
	check := func(when string) {
		t.Helper()
		if r := d.FailDocker("run", "--rm", "--pull", "never", "--platform", foreign, ref); !strings.Contains(r.Stderr, "does not provide the specified platform") {
			t.Errorf("%s, a part of it runs: %v", when, r)
		}
		if r := d.FailDocker("save", "--platform", foreign, "-o", filepath.Join(d.Dir, "part.tar"), ref); !strings.Contains(r.Stderr, foreign) {
			t.Errorf("%s, a part of it is saved: %v", when, r)
		}
		if got := runs(d, ref, "echo", "whole"); got != "whole" {
			t.Errorf("%s, the other platform says %q", when, got)
		}
	}
	check("in the pull")
	d.Kill9()
	if pull.Wait() == nil {
		t.Error("the pull did not notice that the daemon died")
	}
	close(f.open)
	d.Launch()
	check("after the daemon was killed")
	d.MustDocker("pull", "--platform", foreign, ref)
	if got := runs(d, "--platform", foreign, ref, "wc", "-c", "/big"); !strings.HasPrefix(got, "8388608 ") {
		t.Errorf("the layer has %s", got)
	}
}
