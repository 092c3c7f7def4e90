package sent

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func archive(t *testing.T, h tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h.Size = 1
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "x")
	w.Close()
	return b.String()
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

func TestLookTellsArchivesFromDockerfiles(t *testing.T) {
	file := tar.Header{Typeflag: tar.TypeReg, Name: "Dockerfile", Mode: 0o644}
	extended := file
	extended.Format, extended.PAXRecords = tar.FormatPAX, map[string]string{"TEST.long": strings.Repeat("x", 3000)}
	for name, c := range map[string]struct {
		sent           string
		archive, empty bool
	}{
		"plain":                 {archive(t, file), true, false},
		"extended":              {archive(t, extended), true, false},
		"gzip":                  {zipped(t, archive(t, file)), true, false},
		"archive of nothing":    {string(make([]byte, 1024)), true, false},
		"cut":                   {archive(t, file)[:700], true, false},
		"Dockerfile":            {"FROM scratch\n", false, false},
		"Dockerfile of a block": {"FROM scratch\n" + strings.Repeat("# comment\n", 200), false, false},
		"nothing":               {"", false, true},
	} {
		r, err := Look(iotest.OneByteReader(strings.NewReader(c.sent)))
		if err != nil || r.Archive != c.archive || r.Empty != c.empty {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || !strings.HasSuffix(string(got), c.sent) {
			t.Errorf("%s: %d bytes of %d come out: %v", name, len(got), len(c.sent), err)
		}
		if name != "extended" {
			continue
		}
		if h, err := tar.NewReader(bytes.NewReader(got[:seen])).Next(); err != nil || h.Name != "./" {
			t.Errorf("BuildKit sees %+v, %v", h, err)
		}
	}
	if _, err := Look(iotest.ErrReader(errors.New("broken"))); err == nil || !strings.Contains(err.Error(), "broken") {
		t.Errorf("of a broken connection: %v", err)
	}
}
