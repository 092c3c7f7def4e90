package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"
)

const cached = "FROM " + image + " AS base\nRUN echo one > /one && head -c 1000 /dev/urandom > /random\nFROM base AS side\nRUN echo side > /side\n" +
	"FROM base\nCOPY --from=side /side /\nCOPY f /f\nRUN cat /f /one > /two\n"

// unbuilt are the steps that a build did, rather than take them from a cache.
func unbuilt(progress string) (ran []string) {
	done := map[string]bool{}
	for line := range strings.Lines(progress) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case rest == "CACHED" || strings.Contains(rest, "sha256:"): // it was fetched
			done[id] = true
		case strings.HasPrefix(rest, "[") && (strings.Contains(rest, "] RUN") || strings.Contains(rest, "] COPY")):
			ran = append(ran, id+" "+rest)
		}
	}
	var out []string
	for _, step := range ran {
		if id, _, _ := strings.Cut(step, " "); !done[id] {
			out = append(out, step)
		}
	}
	return out
}

// What one daemon has built, another one takes from a cache of any kind.
func TestCachesMoveBetweenDaemons(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	reg := harness.Registry(t, "", "")
	d.Write("ctx/Dockerfile", cached)
	d.Write("ctx/f", "x")
	other := daemon(t)
	other.Write("ctx/Dockerfile", cached)
	other.Write("ctx/f", "x")
	local := filepath.Join(d.Dir, "cache")
	for name, c := range map[string]struct {
		to, from []string
	}{
		"registry":          {[]string{"--cache-to", "type=registry,ref=" + reg + "/c:max,mode=max"}, []string{"--cache-from", reg + "/c:max"}},
		"an image manifest": {[]string{"--cache-to", "type=registry,ref=" + reg + "/c:m,mode=max,image-manifest=true,oci-mediatypes=true"}, []string{"--cache-from", "type=registry,ref=" + reg + "/c:m"}},
		"Docker's types":    {[]string{"--cache-to", "type=registry,ref=" + reg + "/c:d,mode=max,image-manifest=false,oci-mediatypes=false"}, []string{"--cache-from", reg + "/none," + reg + "/c:d"}},
		"local":             {[]string{"--cache-to", "type=local,dest=" + local + ",mode=max"}, []string{"--cache-from", "type=local,src=" + local}},
		"inline":            {[]string{"--cache-to", "type=inline", "--push", "-t", reg + "/inline"}, []string{"--cache-from", reg + "/inline"}},
		"an argument":       {[]string{"--build-arg", "BUILDKIT_INLINE_CACHE=1", "--push", "-t", reg + "/arg"}, []string{"--cache-from", reg + "/arg"}},
	} {
		d.MustDocker(append(append([]string{"build", "-q"}, c.to...), "ctx")...)
		other.MustDocker("builder", "prune", "-af")
		r := other.Docker(append(append([]string{"build", "--progress", "plain", "-t", "app"}, c.from...), "ctx")...)
		if ran := unbuilt(r.Stderr); r.Code != 0 || !strings.Contains(r.Stderr, "CACHED") || len(ran) > 0 {
			t.Errorf("%s: these steps ran: %q\n%v", name, ran, r)
		}
		other.MustDocker("image", "rm", "app")
	}
	for want, args := range map[string][]string{
		"not supported: use registry, local or inline": {"--cache-to", "type=s3,bucket=b"}, "type required": {"--cache-from", "ref=x"},
		"src is required": {"--cache-from", "type=local"}, "is neither min nor max": {"--cache-to", "type=registry,ref=x,mode=all"},
	} {
		if r := d.FailDocker(append(append([]string{"build"}, args...), "ctx")...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	d.MustDocker("image", "rm", reg+"/inline", reg+"/arg")
}

// An output is there when the build has succeeded, whole, and not before.
func TestOutputsOfAllKinds(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	reg := harness.Registry(t, "", "")
	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN echo made > /made\n")
	path := func(name string) string { return filepath.Join(d.Dir, name) }
	if err := os.Symlink("real.tar", path("link.tar")); err != nil {
		t.Fatal(err)
	}
	d.Write("real.tar", "from before")
	d.MustDocker("build", "-t", reg+"/app:1", "-t", reg+"/app:2", "-o", "files", "-o", "type=oci,dest=link.tar", "-o", "type=docker,dest=new/docker.tar",
		"-o", "type=oci,tar=false,dest=layout", "-o", "type=registry", "ctx")
	if got, _ := os.ReadFile(path("files/made")); string(got) != "made\n" {
		t.Errorf("the directory has %q", got)
	}
	if to, err := os.Readlink(path("link.tar")); err != nil || to != "real.tar" {
		t.Errorf("the link that was the destination leads to %q, %v", to, err)
	}
	d.MustDocker("image", "rm", reg+"/app:1", reg+"/app:2")
	for _, name := range []string{"real.tar", "new/docker.tar"} {
		d.MustDocker("load", "-i", name)
		if got := d.MustDocker("run", "--rm", reg+"/app:2", "cat", "/made"); got != "made\n" {
			t.Errorf("the image of %s says %q", name, got)
		}
		d.MustDocker("image", "rm", reg+"/app:1", reg+"/app:2")
	}
	if !exists(path("layout/index.json")) {
		t.Error("the layout has no index")
	}
	d.MustDocker("pull", "-q", reg+"/app:2")
	d.MustDocker("image", "rm", reg+"/app:2")
	if out := d.MustDocker("build", "-q", "-o", "-", "ctx"); !strings.Contains(out, "made\n") || !strings.Contains(out, "ustar") {
		t.Error("stdout got no archive")
	}
	for _, args := range [][]string{{"-o", "type=docker"}, {"--load"}, {"-o", "type=image"}} {
		d.MustDocker(append(append([]string{"build", "-q", "-t", "stored"}, args...), "ctx")...)
		d.MustDocker("image", "rm", "stored")
	}
	for _, kind := range []string{"zstd", "uncompressed", "estargz", "gzip,compression-level=9"} {
		d.MustDocker("build", "-q", "-o", "type=image,name="+reg+"/kind,push=true,oci-mediatypes=true,force-compression=true,compression="+kind, "ctx")
		d.MustDocker("image", "rm", reg+"/kind")
		d.MustDocker("pull", "-q", reg+"/kind")
		if got := d.MustDocker("run", "--rm", reg+"/kind", "cat", "/made"); got != "made\n" {
			t.Errorf("%s: the image says %q", kind, got)
		}
		d.MustDocker("image", "rm", reg+"/kind")
	}

	d.Write("ctx/Dockerfile", "FROM "+image+"\nRUN exit 3\n")
	d.Write("kept.tar", "from before")
	d.FailDocker("build", "-o", "type=tar,dest=kept.tar", "-o", "type=oci,dest=none.tar", "ctx")
	if got, _ := os.ReadFile(path("kept.tar")); string(got) != "from before" || exists(path("none.tar")) {
		t.Errorf("a build that failed has written %q", got)
	}
	if halves, _ := filepath.Glob(path(".*tar*")); len(halves) > 0 {
		t.Errorf("it left %q", halves)
	}
	for want, args := range map[string][]string{
		"type is required": {"-o", "dest=x,a=b"}, "no such type": {"-o", "type=zip"}, "is a directory": {"-o", "type=tar,dest=files"}, "is a file": {"-o", "type=local,dest=kept.tar"},
		"tag is needed": {"--push"}, "multiple outputs": {"-o", "-", "-o", "type=oci"}, "--allow=": {"-o", "type=local,mode=delete,dest=/run/elsewhere"},
		"incompatible with image ID": {"--iidfile", "id", "-o", "files"}, "unknown annotation type": {"--annotation", "level:a=b"}, "expected key=value": {"--annotation", "a"},
	} {
		if r := d.FailDocker(append(append([]string{"build"}, args...), "ctx")...); !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
}
