package build_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"gantry/tests/harness"

	moby "github.com/moby/moby/client"
)

// crossed compiles on the host for what it is built for.
const crossed = `FROM --platform=$BUILDPLATFORM ` + image + ` AS compiler
ARG TARGETPLATFORM
RUN echo "$TARGETPLATFORM" > /for
FROM scratch
COPY --from=compiler /bin /bin
COPY --from=compiler /for /for
CMD ["cat", "/for"]
`

// own is this host's platform; the others are not.
var own = "linux/" + runtime.GOARCH

const all = "linux/s390x,linux/ppc64le"

// index is what an archive or a registry has under a name.
type index struct {
	Manifests []struct {
		Digest   string
		Platform struct{ OS, Architecture, Variant string }
	}
}

func (i index) platforms() (out []string) {
	for _, m := range i.Manifests {
		out = append(out, strings.TrimSuffix(m.Platform.OS+"/"+m.Platform.Architecture+"/"+m.Platform.Variant, "/"))
	}
	slices.Sort(out)
	return out
}

func inspectRaw(t *testing.T, from string) (i index) {
	t.Helper()
	out, err := exec.Command("skopeo", "inspect", "--raw", "--tls-verify=false", from).CombinedOutput()
	if err == nil {
		err = json.Unmarshal(out, &i)
	}
	if err != nil {
		t.Fatalf("skopeo inspect %s: %v: %s", from, err, out)
	}
	return i
}

// One build makes an image for several platforms: in the image store, where
// containers of each run; in a registry; in an archive.
func TestImageForSeveralPlatforms(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	addr := harness.Registry(t, "", "")
	d.Write("Dockerfile", crossed)
	want := []string{own, "linux/arm/v5", "linux/ppc64le", "linux/s390x"}
	d.MustDocker("build", "--platform", own+","+all+",linux/arm/v5", "-t", addr+"/x:1", d.Dir)
	for _, p := range want {
		if got := strings.TrimSpace(d.MustDocker("run", "--rm", "--platform", p, addr+"/x:1")); got != p {
			t.Errorf("the image for %s is for %s", p, got)
		}
	}
	if got := strings.TrimSpace(d.MustDocker("run", "--rm", addr+"/x:1")); got != own {
		t.Errorf("without a platform, the image for %s runs", got)
	}
	if r := d.FailDocker("run", "--rm", "--pull", "never", "--platform", "linux/riscv64", addr+"/x:1"); !strings.Contains(r.Stderr, "linux/riscv64") {
		t.Errorf("a platform that it was not built for: %v", r)
	}
	d.MustDocker("push", addr+"/x:1")
	if got := inspectRaw(t, "docker://"+addr+"/x:1").platforms(); !slices.Equal(got, want) {
		t.Errorf("the registry got %q", got)
	}
	d.MustDocker("build", "--push", "--platform", all, "-t", addr+"/pushed:1", d.Dir)
	if got := inspectRaw(t, "docker://"+addr+"/pushed:1").platforms(); !slices.Equal(got, want[2:]) {
		t.Errorf("the registry got %q", got)
	}
	archive := filepath.Join(d.Dir, "image.tar")
	d.MustDocker("build", "--platform", all, "-o", "type=oci,dest="+archive, d.Dir)
	if got := inspectRaw(t, "oci-archive:"+archive).platforms(); !slices.Equal(got, want[2:]) {
		t.Errorf("the archive has %q", got)
	}
}

// A step for a platform that the host cannot run says what is missing.
func TestStepThatTheHostCannotRun(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	d.Write("Dockerfile", "FROM scratch\nCOPY --chmod=755 program /bin/sh\nRUN it\n")
	d.Write("program", "neither ELF nor a script")
	r := d.FailDocker("build", "--progress", "plain", "--platform", "linux/s390x", d.Dir)
	for _, part := range []string{"exec format error", "Dockerfile:3", "linux/s390x", "qemu-user-static", "$BUILDPLATFORM"} {
		if !strings.Contains(r.Stderr, part) {
			t.Errorf("the error does not say %q: %v", part, r)
		}
	}
	if r := d.FailDocker("build", "--progress", "plain", d.Dir); strings.Contains(r.Stderr, "qemu") {
		t.Errorf("a broken program of the host's platform needs an emulator: %v", r)
	}
	d.Write("Dockerfile", strings.Replace(crossed, "CMD", "RUN exit 3\nCMD", 1))
	if r := d.FailDocker("build", "--progress", "plain", "--platform", "linux/s390x", d.Dir); !strings.Contains(r.Stderr, "exit code: 3") || strings.Contains(r.Stderr, "qemu") {
		t.Errorf("a step that ran and failed needs an emulator: %v", r)
	}
}

// build makes all of build.platforms, up the one that its containers run on.
func TestPlatformsOfAService(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	dir := d.Project("cross", `
name: cross
services:
  app:
    build:
      context: .
      platforms: [linux/s390x, `+own+`]
  foreign:
    image: cross-foreign
    platform: linux/s390x
    build:
      context: .
      platforms: [linux/s390x, `+own+`]
`, "Dockerfile", crossed)
	engine, err := moby.New(moby.WithHost(d.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	present := func(ref string) (out []string) {
		t.Helper()
		got, err := engine.ImageInspect(t.Context(), ref, moby.ImageInspectWithManifests(true))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got.Manifests {
			if m.Available {
				out = append(out, m.ImageData.Platform.OS+"/"+m.ImageData.Platform.Architecture)
			}
		}
		slices.Sort(out)
		return out
	}
	d.Must(dir, "up", "-d")
	for name, want := range map[string]string{"app": own, "foreign": "linux/s390x"} {
		if got := strings.TrimSpace(d.Must(dir, "logs", "--no-log-prefix", name)); got != want {
			t.Errorf("%s runs on %q", name, got)
		}
		if got := present("cross-" + name); !slices.Equal(got, []string{want}) {
			t.Errorf("up built %s for %q", name, got)
		}
	}
	both := []string{own, "linux/s390x"}
	slices.Sort(both)
	d.Must(dir, "build")
	for _, name := range []string{"app", "foreign"} {
		if got := present("cross-" + name); !slices.Equal(got, both) {
			t.Errorf("build built %s for %q", name, got)
		}
	}
	if out := d.Must(dir, "up", "-d", "--dry-run"); strings.Contains(out, "recreate") || strings.Contains(out, "replace") {
		t.Errorf("the same image for one platform more replaces containers: %s", out)
	}
}
