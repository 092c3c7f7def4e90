// Package sent tells what a client sends as the context of a build.
package sent

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/moby/go-archive/compression"
)

// seen is how much of a context BuildKit looks at to tell what it is.
const seen = 1024

// Context is what a client sends.
type Context struct {
	io.Reader
	Archive bool // in any compression; else it is a Dockerfile
	Empty   bool
}

// Look tells what r is, and gives it in a form that BuildKit takes for the
// same: it knows no tar that begins with extended headers longer than what it
// looks at, as Python and "git archive" write them.
func Look(r io.Reader) (Context, error) {
	in := bufio.NewReaderSize(r, 4*seen)
	head, err := in.Peek(seen)
	if err != nil && !errors.Is(err, io.EOF) {
		return Context{}, fmt.Errorf("build context: %w", err)
	}
	if compression.Detect(head) != compression.None {
		return Context{Reader: in, Archive: true}, nil
	}
	// a block whose checksum holds is a tar's, whatever follows
	_, err = tar.NewReader(bytes.NewReader(head)).Next()
	switch {
	case err == nil:
		return Context{Reader: in, Archive: true}, nil
	case len(head) < 512 || errors.Is(err, tar.ErrHeader):
		return Context{Reader: in, Empty: len(head) == 0}, nil
	}
	root, err := directory()
	return Context{Reader: io.MultiReader(root, in), Archive: true}, err
}

// directory is the beginning of an archive: its own root.
func directory() (io.Reader, error) {
	var b bytes.Buffer
	err := tar.NewWriter(&b).WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755, Format: tar.FormatUSTAR})
	return &b, err
}
