package docker_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A CDI specification brings a variable, a mount and a device node; --gpus
// finds devices of a known vendor; what is not there is named.
func TestRunInjectsCDIDevices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := start(t, fmt.Sprintf(`"cdi-spec-dirs": [%q]`, dir))

	if r := d.FailDocker("run", "--rm", "--gpus", "all", image, "true"); !strings.Contains(r.Stderr, `could not select device driver "" with capabilities: [[gpu]]`) || !strings.Contains(r.Stderr, dir) {
		t.Errorf("GPUs without a specification: %v", r)
	}
	if r := d.FailDocker("run", "--rm", "--device", "acme.com/card=0", image, "true"); !strings.Contains(r.Stderr, "unresolvable CDI devices acme.com/card=0") || !strings.Contains(r.Stderr, dir) {
		t.Errorf("a device without a specification: %v", r)
	}

	write("driver.txt", "the driver")
	// written while the daemon runs: it is read when it is needed
	write("acme.yaml", fmt.Sprintf(`
cdiVersion: "0.6.0"
kind: acme.com/card
containerEdits:
  env: ["CARDS=acme"]
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - {path: /dev/card0, hostPath: /dev/null}
    mounts:
    - {hostPath: %s, containerPath: /driver.txt, options: [ro, bind]}
`, filepath.Join(dir, "driver.txt")))
	write("nvidia.json", `{"cdiVersion": "0.6.0", "kind": "nvidia.com/gpu", "devices": [{"name": "all", "containerEdits": {"env": ["GPUS=every"]}}]}`)
	out := d.MustDocker("run", "--rm", "--device", "acme.com/card=0", "--gpus", "all", image,
		"sh", "-c", `echo $CARDS $GPUS; cat /driver.txt; echo; stat -c "%t:%T" /dev/card0; echo x > /dev/card0 && echo writable`)
	if want := "acme every\nthe driver\n1:3\nwritable\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}
