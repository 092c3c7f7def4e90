package harness

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

// Files calls f with each regular file below dir, which must exist. Files that
// a daemon removes meanwhile are left out.
func Files(t testing.TB, dir string, f func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				f(path, info)
			}
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
