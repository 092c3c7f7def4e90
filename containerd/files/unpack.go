package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/go-archive"
	"github.com/moby/go-archive/compression"
	"golang.org/x/sys/unix"
)

// maxDirectories bounds what is remembered of an archive: the times of its
// directories are set at the end.
const maxDirectories = 1 << 20

// UnpackOptions says how an archive is unpacked.
type UnpackOptions struct {
	// NoOverwriteDirNonDir refuses to replace a directory by something else,
	// and something else by a directory.
	NoOverwriteDirNonDir bool
	Owner                *Owner // of everything; nil: whom the archive names
}

// Owner is a user and a group.
type Owner struct{ UID, GID int }

// Unpack puts the content of a tar archive, which may be compressed, into the
// directory dir. ErrInvalidArgument for a dir that is no directory and
// for an archive that is broken; what stands before the break is unpacked.
func (t *Tree) Unpack(ctx context.Context, dir string, r io.Reader, o UnpackOptions) error {
	plain, err := compression.DecompressStream(r)
	if err != nil {
		return broken(err)
	}
	defer plain.Close()
	opts, done, err := archive.WithProcSelfFD(&archive.TarOptions{NoOverwriteDirNonDir: o.NoOverwriteDirNonDir})
	if err != nil {
		return err
	}
	defer done()
	if o.Owner != nil {
		opts.ChownOpts = &archive.ChownOpts{UID: o.Owner.UID, GID: o.Owner.GID}
	}
	pr, pw := io.Pipe()
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	defer stop()
	checked := make(chan error, 1)
	go func() {
		err := caught(func() error { return check(ctx, pw, plain) })
		pw.CloseWithError(err)
		checked <- err
	}()
	err = t.inside(func() error {
		fi, err := os.Stat(absolute(dir))
		if err != nil {
			return err
		}
		if !fi.IsDir() {
			return fmt.Errorf("extraction point is not a directory: %w", errdefs.ErrInvalidArgument)
		}
		return archive.Unpack(pr, absolute(dir), opts)
	})
	pr.CloseWithError(errUnpacked)
	if cerr := <-checked; cerr != nil && !errors.Is(cerr, errUnpacked) {
		return cerr
	}
	return classify(err)
}

var errUnpacked = errors.New("unpacked")

// check passes an archive on in the plainest form there is: sparse files are
// written out here, where the end of ctx is seen, and what could fill the
// memory of who unpacks is refused.
func check(ctx context.Context, w io.Writer, r io.Reader) error {
	tr, tw := tar.NewReader(r), tar.NewWriter(w)
	buf := make([]byte, 64<<10)
	for dirs := 0; ; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return tw.Close()
		}
		if err != nil {
			return broken(err)
		}
		switch hdr.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeGNUSparse, tar.TypeCont, tar.TypeRegA: //nolint:staticcheck // archives have it
			hdr.Typeflag = tar.TypeReg
		case tar.TypeDir:
			if dirs++; dirs > maxDirectories {
				return broken(fmt.Errorf("it has more than %d directories", maxDirectories))
			}
		}
		if path.Clean("/"+hdr.Name) == "/" {
			continue // the directory itself; nobody would read what it says to hold
		}
		hdr.Format = tar.FormatUnknown
		for k := range hdr.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				delete(hdr.PAXRecords, k)
			}
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return wrote(err, hdr.Name)
		}
		if err := pass(ctx, tw, tr, buf); err != nil {
			return err
		}
	}
}

// wrote tells a header that cannot be written from a reader that is gone.
func wrote(err error, name string) error {
	if errors.Is(err, errUnpacked) || errors.Is(err, io.ErrClosedPipe) {
		return errUnpacked
	}
	return broken(fmt.Errorf("entry %.100q: %w", name, err))
}

func pass(ctx context.Context, w io.Writer, r io.Reader, buf []byte) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return broken(err)
		}
	}
}

func broken(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return fmt.Errorf("invalid tar archive: %w: %w", err, errdefs.ErrInvalidArgument)
}

// classify gives the errors of unpacking the classes of what they mean to who
// sent the archive.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w", err, errdefs.ErrPermissionDenied)
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return err
	case errors.Is(err, os.ErrNotExist), errdefs.IsInvalidArgument(err):
		return err
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
}
