package watch

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// Archive writes what copies bring as a tar archive for the container's root,
// and returns the targets of what is no more on the host. Files are root's, as
// those that builds copy.
func Archive(w io.Writer, copies []Copy) (gone []string, err error) {
	archive := tar.NewWriter(w)
	for _, c := range copies {
		err := filepath.WalkDir(c.Host, func(file string, d fs.DirEntry, err error) error {
			if vanished(err) {
				// with a file in its directory's place it is gone already
				if file == c.Host && !errors.Is(err, syscall.ENOTDIR) {
					gone = append(gone, c.Target)
				}
				return nil
			}
			if err != nil {
				return err
			}
			return c.put(archive, file, d)
		})
		if err != nil {
			return gone, fmt.Errorf("copy %q: %w", c.Host, err)
		}
	}
	return gone, archive.Close()
}

func (c Copy) put(archive *tar.Writer, file string, d fs.DirEntry) error {
	if d.IsDir() {
		if c.Rule.Skips(file) {
			return filepath.SkipDir
		}
		// With all of the rule, what is there keeps owner and mode, and the rest is
		// made on the way. One that has come since may replace a file.
		if file == c.Rule.Path || c.Host == c.Rule.Path && !empty(file) {
			return nil
		}
	} else if !d.Type().IsRegular() && d.Type() != fs.ModeSymlink {
		return nil
	}
	target, ok := c.Rule.Match(file)
	if !ok {
		return nil
	}
	return put(archive, file, strings.TrimPrefix(path.Clean(target), "/"))
}

func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// vanished says that a path is another thing by now: what became of it has its
// own event.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}

// put adds a file; one that goes away meanwhile is told of by its own event.
func put(archive *tar.Writer, file, name string) error {
	info, err := os.Lstat(file)
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var link string
	var content *os.File
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err = os.Readlink(file)
	case info.Mode().IsRegular():
		if content, err = os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0); err == nil {
			defer content.Close()
			if info, err = content.Stat(); err == nil && !info.Mode().IsRegular() {
				return nil
			}
		}
	}
	if vanished(err) || errors.Is(err, syscall.EINVAL) && content == nil { // no link any more
		return nil
	}
	if err != nil {
		return err
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = name, 0, 0, "", ""
	if err := archive.WriteHeader(h); err != nil || content == nil {
		return err
	}
	// it may be growing or shrinking while it is read
	n, err := io.CopyN(archive, content, h.Size)
	if errors.Is(err, io.EOF) {
		_, err = io.CopyN(archive, zeros{}, h.Size-n)
	}
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
