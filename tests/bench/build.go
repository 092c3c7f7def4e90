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

// dockerfile is small, but has what most have: two stages, files of the
// context, steps that run, and settings.
const dockerfile = `FROM localhost/base:1 AS compile
WORKDIR /src
COPY . .
RUN mkdir /out && cat data/*.txt >/out/all
RUN wc -c /out/all >/out/size

FROM localhost/base:1
ENV APP=/srv/app LANG=C.UTF-8
RUN mkdir -p $APP && echo "app:x:1000:1000::$APP:/bin/sh" >>/etc/passwd
COPY --from=compile /out $APP
COPY start.sh /usr/bin/start
RUN chmod 0755 /usr/bin/start && chown -R 1000:1000 $APP
USER 1000
WORKDIR /srv/app
EXPOSE 8080
CMD ["start"]
`

const (
	contextFiles = 50
	largeLayer   = 100 << 20 // bytes, half of them random
)

// largeDockerfile makes one layer that is worth compressing.
const largeDockerfile = `FROM localhost/base:1
RUN i=0; while [ $i -lt 25 ]; do cat /bin/busybox >>/text; i=$((i+1)); done; head -c 52428800 /dev/urandom >/noise
`

// builds measures builds, beside "buildah bud" of the same Dockerfile on the
// same base, which both have: with overlayfs, runc and a network for each step.
// Nothing is cached when it is cold; the floor does not even keep its layers.
func builds(t *tb, r *report, d *harness.Daemon, o options) {
	dir := filepath.Join(d.Dir, "builds")
	t.check(os.MkdirAll(filepath.Join(dir, "context/data"), 0o755))
	d.Busybox("localhost/base:1")
	text := make([]byte, 4<<10)
	rand.NewChaCha8([32]byte{1}).Read(text)
	for i := range contextFiles {
		t.check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("context/data/%d.txt", i)), text, 0o644))
	}
	for name, body := range map[string]string{"Dockerfile": dockerfile, "large": largeDockerfile, "start.sh": "#!/bin/sh\n"} {
		t.check(os.WriteFile(filepath.Join(dir, "context", name), []byte(body), 0o644))
	}
	b := newBuildah(t, dir)

	var cold, coldFloor, layered, cached, cachedFloor, first, firstFloor []time.Duration
	ours := func(args ...string) time.Duration {
		began := time.Now()
		docker(t, d, append(append([]string{"build", "-q", "-t", "bench"}, args...), b.context)...)
		return time.Since(began)
	}
	forget := func() {
		docker(t, d, "rmi", "-f", "bench")
		docker(t, d, "builder", "prune", "-af")
	}
	ours()
	for round := range o.rounds {
		t.step("builds, round %d", round+1)
		b.forget()
		forget()
		coldFloor = append(coldFloor, b.build("--no-cache"))
		cold = append(cold, ours())
		layered = append(layered, b.build("--layers", "--no-cache"))
		cachedFloor = append(cachedFloor, b.build("--layers"))
		cached = append(cached, ours())

		forget()
		d.Stop()
		d.Launch()
		b.forget()
		firstFloor = append(firstFloor, b.build("--no-cache"))
		first = append(first, ours())
	}
	r.timed("cold build of a small Dockerfile", cold, coldFloor, 1)
	r.timed("the same beside one that keeps its layers, too", cold, layered, 0)
	r.timed("the same, first use of the builder", first, firstFloor, 1)
	r.timed("the same again, nothing changed", cached, cachedFloor, 0.5)

	var large, largeFloor []time.Duration
	for round := range min(o.rounds, 3) {
		t.step("builds of a large layer, round %d", round+1)
		b.forget()
		forget()
		largeFloor = append(largeFloor, b.build("--no-cache", "-f", filepath.Join(b.context, "large")))
		large = append(large, ours("-f", filepath.Join(b.context, "large")))
	}
	forget()
	r.timed(fmt.Sprintf("cold build of a layer of %d MB", largeLayer>>20), large, largeFloor, 0)
}

// buildah is Debian's, with a store of its own that has the base image.
type buildah struct {
	t       *tb
	context string
	store   []string // arguments
}

func newBuildah(t *tb, dir string) *buildah {
	root, run := filepath.Join(dir, "root"), filepath.Join(dir, "run")
	b := &buildah{t: t, context: filepath.Join(dir, "context"), store: []string{"--root", root, "--runroot", run, "--storage-driver", "overlay"}}
	t.Cleanup(func() {
		_ = exec.Command("umount", filepath.Join(root, "overlay")).Run() // it stays mounted, where it was mounted
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove buildah's store: %v", err)
		}
	})
	base := filepath.Join(dir, "base.tar")
	f, err := os.Create(base)
	t.check(err)
	t.check(busybox.Archive(f, "base"))
	t.check(f.Close())
	skopeo(t, "oci-archive:"+base, fmt.Sprintf("containers-storage:[overlay@%s+%s]localhost/base:1", root, run))
	return b
}

// build times a build, in OCI isolation: with runc and a network.
func (b *buildah) build(args ...string) time.Duration {
	began := time.Now()
	b.run(append(append([]string{"bud", "-q", "--isolation", "oci", "--runtime", "runc", "--pull-never", "-t", "localhost/bench"}, args...), b.context)...)
	return time.Since(began)
}

// forget removes all but the base.
func (b *buildah) forget() { b.run("rmi", "--prune", "--force") }

func (b *buildah) run(args ...string) {
	b.t.check(run(exec.Command("buildah", append(append([]string{}, b.store...), args...)...)))
}
