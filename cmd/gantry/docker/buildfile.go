package docker

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	buildkit "github.com/moby/buildkit/client"
)

// fileOutput makes an output write an archive: to stdout, or to a file that is
// there once the build has succeeded.
func (f *Front) fileOutput(o *buildOptions, e *buildkit.ExportEntry, dest string) error {
	if o.iidfile != "" && e.Type == buildkit.ExporterTar {
		return errIDFile
	}
	if dest == "" || dest == "-" {
		if o.stdoutTaken {
			return errors.New("multiple outputs configured to write to stdout")
		}
		o.stdoutTaken = true
		if f.cli.Out().IsTerminal() {
			return errors.New("dest file is required. refusing to write to console")
		}
		e.Output = func(map[string]string) (io.WriteCloser, error) { return unclosed{f.Out}, nil }
		return nil
	}
	a := &archiveFile{path: dest}
	info, err := os.Stat(dest)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("destination file %s is a directory", dest)
	case err == nil:
		a.special = !info.Mode().IsRegular()
		if a.path, err = filepath.EvalSymlinks(dest); err != nil { // the link stays
			return fmt.Errorf("invalid destination file: %w", err)
		}
	case !os.IsNotExist(err):
		return fmt.Errorf("invalid destination file: %w", err)
	}
	o.files = append(o.files, a)
	e.Output = func(map[string]string) (io.WriteCloser, error) { return a, a.open() }
	return nil
}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// archiveFile becomes a file in one step: there is no half archive, and a build
// that fails leaves what was there before. What is no regular file, such as a
// pipe or a terminal, is written to as it is.
type archiveFile struct {
	*os.File
	path    string
	special bool
}

func (a *archiveFile) open() (err error) {
	if a.special {
		a.File, err = os.OpenFile(a.path, os.O_WRONLY, 0)
		return err
	}
	if err := os.MkdirAll(filepath.Dir(a.path), 0o755); err != nil {
		return err
	}
	name := filepath.Join(filepath.Dir(a.path), fmt.Sprintf(".%s-%08x", filepath.Base(a.path), rand.Uint32()))
	a.File, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	return err
}

// Close may be called more than once.
func (a *archiveFile) Close() error {
	if err := a.File.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// settle puts the files in place after a build, or takes them away.
func settle(files []*archiveFile, failed error) error {
	errs := []error{failed}
	for _, a := range files {
		if a.File == nil || a.special {
			continue
		}
		err := a.Close()
		if err == nil && failed == nil {
			err = os.Rename(a.Name(), a.path)
		}
		if err != nil || failed != nil {
			os.Remove(a.Name())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
