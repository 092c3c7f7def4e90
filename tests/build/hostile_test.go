package build_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	moby "github.com/moby/moby/client"
)

// Links in directories, archives and images lead nowhere outside of them.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	h := start(t)
	secret := h.Write("outside/file", "of the host")
	outside := filepath.Dir(secret)
	h.Write("ctx/f", "of the context")
	for name, to := range map[string]string{"link": secret, "root": "/", ".dockerignore": secret} {
		if err := os.Symlink(to, filepath.Join(h.Dir, "ctx", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, instruction := range []string{
		"COPY link /x", "COPY root" + secret + " /x", "ADD ../outside/file /x", "RUN --mount=type=bind,source=root" + outside + ",target=/m cat /m/file",
		"RUN ln -s / /esc\nFROM " + image + "\nCOPY --from=0 /esc" + secret + " /x",
	} {
		h.Write("ctx/Dockerfile", "FROM "+image+"\n"+instruction+"\n")
		if r := h.FailDocker("build", "--progress", "plain", "ctx"); !strings.Contains(r.Stderr, ": not found") || strings.Contains(r.Stderr, "of the host") {
			t.Errorf("%s: %v", instruction, r)
		}
	}
	// what an image links to is written in the image
	h.Write("ctx/Dockerfile", "FROM "+image+"\nRUN ln -s "+outside+" /out\nCOPY f /out/copied\nADD f /out/added/\nWORKDIR /out/made\nRUN cat "+outside+"/copied\n")
	if r := h.Docker("build", "--progress", "plain", "ctx"); r.Code != 0 || !strings.Contains(r.Stderr, "of the context") {
		t.Error(r)
	}
	if got, err := os.ReadDir(outside); err != nil || len(got) != 1 {
		t.Errorf("a build has written to the host: %v %v", got, err)
	}

	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "Dockerfile", Typeflag: tar.TypeSymlink, Linkname: secret}); err != nil {
		t.Fatal(err)
	}
	w.Close()
	a, err := h.classic(&b, moby.ImageBuildOptions{})
	if err == nil || !strings.Contains(err.Error(), "Cannot locate specified Dockerfile") || strings.Contains(err.Error()+a.text, "of the host") {
		t.Errorf("a Dockerfile that is a link: %v %+v", err, a)
	}
	// a header that claims to be huge is not believed
	huge := &bytes.Buffer{}
	w = tar.NewWriter(huge)
	if err := w.WriteHeader(&tar.Header{Name: "x", Size: 4 << 30, Format: tar.FormatUSTAR}); err != nil {
		t.Fatal(err)
	}
	head := huge.Bytes()
	head[156] = tar.TypeXHeader
	var sum int
	copy(head[148:156], "        ")
	for _, c := range head[:512] {
		sum += int(c)
	}
	copy(head[148:156], []byte(octal(sum)))
	if _, err := h.classic(io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, 8<<20)), moby.ImageBuildOptions{}); err == nil || !strings.Contains(err.Error(), "header field too long") {
		t.Errorf("an extended header of four gigabytes: %v", err)
	}
	h.MustDocker("image", "prune", "-f")
}

// octal is a checksum as tar writes it.
func octal(n int) string {
	digits := []byte("000000\x00 ")
	for i := 5; i >= 0; i-- {
		digits[i] = byte('0' + n&7)
		n >>= 3
	}
	return string(digits)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
