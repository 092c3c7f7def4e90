package jsonlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// openNewer opens the files of the log at path that are newer than one of
// them (all of them for nil), oldest first. It walks from the newest to the
// oldest, the way in which the writer shifts them: one that is shifted
// meanwhile is met twice rather than missed.
func openNewer(path string, than os.FileInfo) ([]*os.File, error) {
	last, err := oldest(path)
	if err != nil {
		return nil, err
	}
	var (
		files []*os.File // newest first
		infos []os.FileInfo
	)
	closeAll := func() {
		for _, f := range files {
			f.Close()
		}
	}
	for i := 0; i <= last+2; i++ {
		f, err := os.Open(rotated(path, i))
		if errors.Is(err, os.ErrNotExist) {
			continue // a gap moves through the names while they are shifted
		}
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("read log: %w", err)
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			closeAll()
			return nil, fmt.Errorf("read log: %w", err)
		}
		if than != nil && os.SameFile(st, than) {
			f.Close()
			break
		}
		if slices.ContainsFunc(infos, func(seen os.FileInfo) bool { return os.SameFile(st, seen) }) {
			f.Close()
			continue
		}
		files, infos = append(files, f), append(infos, st)
	}
	slices.Reverse(files)
	return files, nil
}

// oldest returns the highest number among the log's rotated files.
func oldest(path string) (int, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read log: %w", err)
	}
	last := 0
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+"."); ok {
			if n, err := strconv.Atoi(number); err == nil && n < 1<<16 {
				last = max(last, n)
			}
		}
	}
	return last, nil
}

// Remove deletes a log with all its rotated files. One that is not there is
// no error.
func Remove(path string) error {
	last, err := oldest(path)
	errs := []error{err}
	for i := range last + 1 {
		if err := os.Remove(rotated(path, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// tailOffset walks back from the end of f over n lines that match. It returns
// where the earliest of them begins, and how many there were. A line without
// its newline is no line.
func tailOffset(f *os.File, n int, match func(line []byte) bool) (offset int64, found int, err error) {
	const block = 64 << 10
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	base := st.Size()
	var (
		data []byte      // the file from base on, up to the end of the line looked at
		skip = true      // that line is not one: torn or too long
		from = int64(-1) // where what is wanted begins
	)
	for {
		i := bytes.LastIndexByte(data, '\n')
		if i < 0 && base > 0 {
			if len(data) > maxEntry {
				data, skip = data[:0], true
			}
			size := min(block, base)
			base -= size
			grown := make([]byte, int(size)+len(data))
			if _, err := f.ReadAt(grown[:size], base); err != nil {
				return 0, 0, err
			}
			copy(grown[size:], data)
			data = grown
			continue
		}
		if from < 0 && i >= 0 {
			from = base + int64(i) + 1
		}
		if !skip && match(data[i+1:]) {
			found++
			from = base + int64(i) + 1
		}
		if i < 0 || found == n {
			return max(from, 0), found, nil
		}
		data, skip = data[:i], false
	}
}
