package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

const (
	transferLayers = 4
	transferLayer  = 50 << 20 // bytes that do not compress
)

// transfers measures pull and push of a 200 MB image from and to a registry on
// loopback, beside "skopeo copy" of the same. A pull also unpacks: its floor is
// a copy into a store that unpacks; the one into a directory only downloads.
func transfers(t *tb, r *report, d *harness.Daemon, o options) {
	for _, compressed := range []bool{false, true} {
		transfer(t, r, d, o, compressed)
	}
}

func transfer(t *tb, r *report, d *harness.Daemon, o options, compressed bool) {
	what, how := ", layers as tar", "--preserve-digests" // skopeo compresses by itself
	if compressed {
		what, how = ", layers as tar+gzip", "--dest-compress"
	}
	t.step("making an image%s", what)
	source := harness.Registry(t, "", "")
	ref := source + "/big:1"
	var layers []busybox.Option
	for i := range transferLayers {
		b := make([]byte, transferLayer)
		rand.NewChaCha8([32]byte{byte(i)}).Read(b)
		layers = append(layers, busybox.Layer(busybox.File{Path: fmt.Sprintf("/data%d", i), Body: string(b)}))
	}
	harness.Push(t, ref, []string{how}, layers...)
	dir := filepath.Join(d.Dir, "skopeo")
	t.Cleanup(func() { os.RemoveAll(dir) })
	store := func(name string) string { return filepath.Join(dir, name) }
	unpacking := fmt.Sprintf("containers-storage:[overlay@%s+%s]localhost/big:1", store("root"), store("run"))

	var pull, pullFloor, download, push, pushFloor []time.Duration
	for round := range min(o.rounds, 5) {
		t.step("pull and push%s, round %d", what, round+1)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		download = append(download, skopeo(t, "--src-tls-verify=false", "--dest-oci-accept-uncompressed-layers", "docker://"+ref, "oci:"+store("oci")+":big"))
		pullFloor = append(pullFloor, skopeo(t, "--src-tls-verify=false", "docker://"+ref, unpacking))
		began := time.Now()
		docker(t, d, "pull", "-q", ref)
		pull = append(pull, time.Since(began))

		theirs, ours := harness.Registry(t, "", "")+"/big:1", harness.Registry(t, "", "")+"/big:1"
		pushFloor = append(pushFloor, skopeo(t, "--dest-tls-verify=false", "--preserve-digests", "oci:"+store("oci")+":big", "docker://"+theirs))
		docker(t, d, "tag", ref, ours)
		began = time.Now()
		docker(t, d, "push", "-q", ours)
		push = append(push, time.Since(began))
		docker(t, d, "rmi", ref, ours)
		_ = exec.Command("umount", store("root/overlay")).Run() // skopeo leaves it mounted, where it mounts it
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	r.timed("pull of 200 MB"+what, pull, pullFloor, 1)
	r.timed("the same beside a download alone", pull, download, 0)
	r.timed("push of 200 MB"+what, push, pushFloor, 1)
}

// skopeo times a copy.
func skopeo(t *tb, args ...string) time.Duration {
	began := time.Now()
	cmd := exec.Command("skopeo", append([]string{"copy", "-q", "--insecure-policy"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("skopeo: %w: %s", err, out))
	}
	return time.Since(began)
}
