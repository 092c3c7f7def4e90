package build_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gantry/tests/harness"

	"golang.org/x/crypto/ssh"
)

const secretive = `ARG BASE
FROM ${BASE}
ARG shown
RUN --mount=type=secret,id=file,target=/token --mount=type=secret,id=env,env=TOKEN --mount=type=ssh \
    test "$(wc -c < /token)" -gt 20 && test -n "$TOKEN" && test -S "$SSH_AUTH_SOCK" && echo seen-by-all > /public
`

// What a build is trusted with is nowhere afterwards: not in what the daemon
// keeps and logs, in caches, images, outputs or what is said of them.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	const user, password, other = "reader", "p4ssw0rd-of-the-registry", "v4lue-of-the-variable"
	kept := t.TempDir()
	reg := harness.RegistryIn(t, kept, user, password)
	harness.Push(t, reg+"/base", []string{"--dest-creds", user + ":" + password})
	if r := d.DockerInput(password, "login", "-u", user, "--password-stdin", reg); r.Code != 0 {
		t.Fatal(r)
	}
	const file = "c0ntent-of-the-file\nand its second line\n"
	trusted, key := t.TempDir(), newKey(t)
	for name, content := range map[string]string{"token": file, "key": key} {
		if err := os.WriteFile(filepath.Join(trusted, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.Write("ctx/Dockerfile", secretive)
	args := []string{
		"build", "--secret", "id=file,src=" + trusted + "/token", "--secret", "id=env,env=TOKEN", "--ssh", "default=" + trusted + "/key",
		"--build-arg", "BASE=" + reg + "/base", "--build-arg", "shown=argument", "--provenance=mode=max", "-t", reg + "/app", "--push", "--load",
		"--metadata-file", "metadata", "-o", "files", "-o", "type=oci,dest=oci.tar", "-o", "type=docker,dest=docker.tar,provenance=false",
		"--cache-to", "type=registry,mode=max,ref=" + reg + "/cache", "--cache-to", "type=local,mode=max,dest=cache", "ctx",
	}
	cmd := d.DockerCommand(d.Dir, args...)
	cmd.Env = append(cmd.Env, "TOKEN="+other)
	if r := d.Finish(cmd); r.Code != 0 {
		t.Fatalf("%v\n%s", r, d.Log())
	}
	d.Write("events", d.MustDocker("events", "--since", "1h", "--until", "0s")+d.MustDocker("history", "--no-trunc", reg+"/app")+
		d.MustDocker("image", "inspect", reg+"/app")+d.MustDocker("buildx", "du", "--verbose"))
	d.MustDocker("image", "rm", reg+"/app")

	secrets := []string{"c0ntent-of-the-file", other, password, base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), strings.Split(key, "\n")[2]}
	found := map[string][]string{}
	public := map[string]bool{}
	for _, root := range []string{d.Dir, filepath.Join(kept, "data")} {
		harness.Files(t, root, func(path string, _ fs.FileInfo) {
			if strings.HasPrefix(path, filepath.Join(d.Dir, "docker-config")) || strings.HasPrefix(path, filepath.Join(d.Dir, "bin")) {
				return
			}
			f, err := os.Open(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			defer f.Close()
			top, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"), "/")
			contents(f, func(data []byte) {
				for _, s := range secrets {
					if bytes.Contains(data, []byte(s)) {
						found[s] = append(found[s], path)
					}
				}
				for _, s := range []string{"seen-by-all", "argument"} {
					if bytes.Contains(data, []byte(s)) {
						public[top+" "+s] = true
					}
				}
			})
		})
	}
	for s, paths := range found {
		t.Errorf("%q is in %q", s, paths)
	}
	for _, want := range []string{ // the search finds what is there
		"data seen-by-all", "data argument", "files seen-by-all", "oci.tar seen-by-all", "oci.tar argument", "docker.tar seen-by-all", "cache seen-by-all", "docker seen-by-all", "docker argument", "events seen-by-all",
	} {
		if !public[want] {
			t.Errorf("the search misses %q; it has %q", want, slices.Sorted(maps.Keys(public)))
		}
	}
}

// contents calls f with what a file holds, and with all that is in it when it is
// an archive or compressed.
func contents(r io.Reader, f func([]byte)) {
	in := bufio.NewReaderSize(r, 1024)
	head, _ := in.Peek(512)
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		if z, err := gzip.NewReader(in); err == nil {
			contents(z, f)
		}
		return
	case len(head) == 512 && string(head[257:262]) == "ustar":
		a := tar.NewReader(in)
		for {
			h, err := a.Next()
			if err != nil {
				return
			}
			f([]byte(h.Name))
			contents(a, f)
		}
	}
	if data, err := io.ReadAll(in); err == nil || len(data) > 0 {
		f(data)
	}
}

// newKey is an SSH key that opens nothing.
func newKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
