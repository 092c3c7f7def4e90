package volumes

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Size is how many bytes a volume's files have, those with several names
// counted once. What is mounted into it counts only while it is mounted.
func (s *Store) Size(ctx context.Context, name string) (int64, error) {
	e, err := s.find(name)
	if err != nil {
		return 0, err
	}
	var total int64
	seen := map[uint64]bool{} // of one file system: inodes of files with several names
	err = filepath.WalkDir(e.volume.Mountpoint, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, os.ErrNotExist) { // its users go on
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || d.IsDir() {
			return nil
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
			if seen[st.Ino] {
				return nil
			}
			seen[st.Ino] = true
		}
		total += info.Size()
		return nil
	})
	return total, err
}
