package files

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/moby/go-archive"
	"golang.org/x/sys/unix"
)

// maxDepth bounds how many directories are open at once.
const maxDepth = 4096

// Pack writes path as a tar archive. The names in it begin with the last part
// of path as it was given: with "./" for a directory named "dir/.", with "/"
// for the root.
func (t *Tree) Pack(ctx context.Context, path string, w io.Writer) error {
	path = absolute(path)
	name := filepath.Base(path)
	var dir *os.File
	var entry string
	err := t.inside(func() error {
		fi, err := os.Lstat(path)
		if err != nil {
			return err
		}
		if entry = "."; !fi.IsDir() {
			path, entry = filepath.Split(path)
		}
		dir, err = os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
		return err
	})
	if err != nil {
		return err
	}
	defer dir.Close()
	return pack(ctx, w, func(p *packer) error {
		if name == "/" {
			name = "" // what lies below is joined by a slash
		}
		return p.add(dir, entry, name, 0)
	})
}

// PackAll writes the whole tree as a tar archive with names relative to its
// root, without an entry for that.
func (t *Tree) PackAll(ctx context.Context, w io.Writer) error {
	return pack(ctx, w, func(p *packer) error { return p.below(t.root, "", 0) })
}

func pack(ctx context.Context, w io.Writer, f func(*packer) error) error {
	b := bufio.NewWriterSize(w, 64<<10)
	p := &packer{ctx: ctx, tw: tar.NewWriter(b), links: map[inode]string{}, buf: make([]byte, 64<<10)}
	if err := f(p); err != nil {
		return err
	}
	if err := p.tw.Close(); err != nil {
		return err
	}
	return b.Flush()
}

type inode struct{ dev, ino uint64 }

// packer writes files to an archive. It opens each by its name in a directory
// that is open, and never follows a link: a tree that changes meanwhile makes
// it miss files at worst.
type packer struct {
	ctx   context.Context
	tw    *tar.Writer
	links map[inode]string // names of those that have several
	buf   []byte
}

// add writes what name is in dir, under the name as, and all below it.
func (p *packer) add(dir *os.File, name, as string, depth int) error {
	if err := context.Cause(p.ctx); err != nil {
		return err
	}
	f, err := openAt(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, os.ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return fmt.Errorf("%q: %w", as, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%q: %w", as, err)
	}
	if fi.Mode()&os.ModeSocket != 0 {
		return nil // archives have no sockets
	}
	hdr, err := p.header(dir, f, fi, name, as)
	if err != nil {
		return fmt.Errorf("%q: %w", as, err)
	}
	if err := p.tw.WriteHeader(hdr); err != nil {
		return fmt.Errorf("%q: %w", as, err)
	}
	switch {
	case fi.IsDir():
		prefix := as + "/"
		return p.below(f, prefix, depth+1)
	case hdr.Typeflag == tar.TypeReg && hdr.Size > 0:
		if err := p.content(f, hdr.Size); err != nil {
			return fmt.Errorf("%q: %w", as, err)
		}
	}
	return nil
}

func (p *packer) header(dir, f *os.File, fi os.FileInfo, name, as string) (*tar.Header, error) {
	link := ""
	if fi.Mode()&os.ModeSymlink != 0 {
		n, err := unix.Readlinkat(int(f.Fd()), "", p.buf[:unix.PathMax])
		if err != nil {
			return nil, os.NewSyscallError("readlinkat", err)
		}
		link = string(p.buf[:n])
	}
	hdr, err := archive.FileInfoHeader(as, fi, link)
	if err != nil {
		return nil, err
	}
	if fi.Mode().IsRegular() {
		if err := archive.ReadSecurityXattrToTarHeader(fdPath(dir)+"/"+name, hdr); err != nil {
			return nil, err
		}
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 && !fi.IsDir() {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := p.links[id]; ok {
			hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first, 0
		} else {
			p.links[id] = hdr.Name
		}
	}
	return hdr, nil
}

// below writes all that is in a directory.
func (p *packer) below(dir *os.File, prefix string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%.100q…: directories are nested more than %d deep", prefix, maxDepth)
	}
	list, err := openAt(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("%q: %w", prefix, err)
	}
	defer list.Close()
	names, err := list.Readdirnames(-1)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%q: %w", prefix, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.add(list, name, prefix+name, depth); err != nil {
			return err
		}
	}
	return nil
}

// content writes size bytes of a file: what has been cut off meanwhile is
// zeros, what has grown is left out.
func (p *packer) content(f *os.File, size int64) error {
	// It is a regular file, so that opening it neither waits nor has effects.
	r, err := os.Open(fdPath(f))
	if err != nil {
		return err
	}
	defer r.Close()
	for src := io.Reader(r); size > 0; {
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		n, err := src.Read(p.buf[:min(size, int64(len(p.buf)))])
		if _, werr := p.tw.Write(p.buf[:n]); werr != nil {
			return werr
		}
		size -= int64(n)
		if errors.Is(err, io.EOF) {
			src = zeros{}
		} else if err != nil {
			return err
		}
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
