package volumes

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
)

// LocalDriver is the only driver: a directory, or what mount(8) can mount.
const LocalDriver = "local"

// Volume is a named volume.
type Volume struct {
	Name      string            `json:"name"`
	Driver    string            `json:"driver"`
	Options   map[string]string `json:"options,omitempty"` // type, o, device
	Labels    map[string]string `json:"labels,omitempty"`
	Created   time.Time         `json:"created"`
	Anonymous bool              `json:"anonymous,omitempty"`

	Mountpoint string `json:"-"` // the directory that holds or gets the data
}

// Store keeps volumes in a directory, one per volume, of which it is the only
// writer:
//
//	<root>/<name>/
//	  opts.json     the Volume
//	  _data/        its content; a mount point when it has options
//	  _data.copying a copy of the image's content under way
//	  _data.copied  the same, complete, on its way into _data
//	  subpaths/     mount points of MountSubpath, by user
//	<root>/.new-*   a volume being made, becomes <name> by rename
//	<root>/.gone-*  a volume being removed
type Store struct {
	root string

	mu      sync.Mutex
	volumes map[string]*entry
}

// entry is a volume in memory. Mounting and removing exclude each other
// through op, which holds one token while nothing is done.
type entry struct {
	volume Volume
	op     chan struct{}
	users  map[string]bool // who has it mounted; guarded by op
	gone   bool            // guarded by op
}

const (
	recordFile = "opts.json"
	dataDir    = "_data"
	newPrefix  = ".new-"
	gonePrefix = ".gone-"
)

// name as Docker has it: two characters at least, so that no drive letter is one.
var name = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$`)

// CheckName returns an errdefs.ErrInvalidArgument for what cannot be a volume's name.
func CheckName(s string) error {
	switch {
	case name.MatchString(s):
	case len(s) < 2:
		return invalid("volume name %q is too short, names should be at least two alphanumeric characters", s)
	case len(s) > 255:
		return invalid("volume name %q is too long, names have at most 255 characters", s)
	default:
		return invalid("%q includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path", s)
	}
	return nil
}

// Open returns the store in root, which is made when missing, and finishes
// what a crash left half done. A volume whose record cannot be read is left
// alone and logged.
func Open(root string) (*Store, error) {
	if err := os.MkdirAll(root, 0o701); err != nil {
		return nil, fmt.Errorf("volumes directory: %w", err)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil { // as in mountinfo
		return nil, fmt.Errorf("volumes directory: %w", err)
	}
	s := &Store{root: root, volumes: map[string]*entry{}}
	dirs, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("volumes directory: %w", err)
	}
	logger := log.G(context.Background())
	for _, d := range dirs {
		dir := filepath.Join(root, d.Name())
		switch {
		case strings.HasPrefix(d.Name(), newPrefix), strings.HasPrefix(d.Name(), gonePrefix):
			if err := removeTree(dir); err != nil {
				logger.WithError(err).Warn("a removed volume's data could not be deleted")
			}
		case d.IsDir() && name.MatchString(d.Name()):
			v, err := readRecord(dir)
			if err != nil {
				logger.WithError(err).Errorf("volume %q is left alone: its record cannot be read", d.Name())
				continue
			}
			if err := finishCopy(filepath.Join(dir, dataDir)); err != nil {
				logger.WithError(err).Errorf("volume %q: finishing the copy of an image's content", d.Name())
			}
			s.add(v)
		}
	}
	return s, nil
}

func (s *Store) add(v Volume) *entry {
	v.Mountpoint = filepath.Join(s.root, v.Name, dataDir)
	e := &entry{volume: v, op: make(chan struct{}, 1), users: map[string]bool{}}
	e.op <- struct{}{}
	s.volumes[v.Name] = e
	return e
}

func readRecord(dir string) (Volume, error) {
	b, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err != nil {
		return Volume{}, err
	}
	var v Volume
	if err := json.Unmarshal(b, &v); err != nil {
		return Volume{}, fmt.Errorf("read %q: %w", filepath.Join(dir, recordFile), err)
	}
	if v.Name != filepath.Base(dir) {
		return Volume{}, fmt.Errorf("record in %q is of volume %q: %w", dir, v.Name, errdefs.ErrDataLoss)
	}
	return v, nil
}

// Create makes the volume v. One that exists already is returned when it fits:
// a driver, options or labels that v leaves empty fit anything, others must be
// equal, or the error is an errdefs.ErrAlreadyExists. A zero Created means now.
func (s *Store) Create(v Volume) (Volume, error) {
	if err := CheckName(v.Name); err != nil {
		return Volume{}, fmt.Errorf("create %s: %w", v.Name, err)
	}
	if err := checkOptions(v); err != nil {
		return Volume{}, fmt.Errorf("create %s: %w", v.Name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.volumes[v.Name]; ok {
		return fit(e.volume, v)
	}
	v.Driver = LocalDriver
	if v.Created.IsZero() {
		v.Created = time.Now()
	}
	v.Created = v.Created.UTC()
	v = clone(v)
	if err := s.write(v); err != nil {
		return Volume{}, fmt.Errorf("create volume %q: %w", v.Name, err)
	}
	return clone(s.add(v).volume), nil
}

// fit returns have when it is what want asks for.
func fit(have, want Volume) (Volume, error) {
	differ := func(what string) (Volume, error) {
		return Volume{}, fmt.Errorf("volume %q exists with another %s: %w", have.Name, what, errdefs.ErrAlreadyExists)
	}
	switch {
	case want.Driver != "" && want.Driver != have.Driver:
		return differ("driver")
	case len(want.Options) > 0 && !maps.Equal(want.Options, have.Options):
		return differ("set of options")
	case len(want.Labels) > 0 && !maps.Equal(want.Labels, have.Labels):
		return differ("set of labels")
	}
	return clone(have), nil
}

// write puts a new volume on disk: all of it or, after a crash, none.
func (s *Store) write(v Volume) (err error) {
	tmp, err := os.MkdirTemp(s.root, newPrefix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
		}
	}()
	if err := os.Chmod(tmp, 0o701); err != nil { // containers' users pass, nobody lists
		return err
	}
	if err := os.Mkdir(filepath.Join(tmp, dataDir), 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(tmp, recordFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync() // a volume without its record would be lost after a power cut
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	err = os.Rename(tmp, filepath.Join(s.root, v.Name))
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("its directory exists, but holds no record that can be read: %w", errdefs.ErrAlreadyExists)
	}
	return err
}

// Get returns a volume, or an errdefs.ErrNotFound.
func (s *Store) Get(name string) (Volume, error) {
	e, err := s.find(name)
	if err != nil {
		return Volume{}, err
	}
	return clone(e.volume), nil
}

// List returns all volumes by name.
func (s *Store) List() []Volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Volume, 0, len(s.volumes))
	for _, e := range s.volumes {
		out = append(out, clone(e.volume))
	}
	slices.SortFunc(out, func(a, b Volume) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (s *Store) find(name string) (*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.volumes[name]
	if !ok {
		return nil, notFound(name)
	}
	return e, nil
}

func notFound(name string) error {
	return fmt.Errorf("get %s: no such volume: %w", name, errdefs.ErrNotFound)
}

// acquire takes the right to mount or remove the volume, until release.
func (s *Store) acquire(ctx context.Context, name string) (*entry, error) {
	e, err := s.find(name)
	if err != nil {
		return nil, err
	}
	select {
	case <-e.op:
	case <-ctx.Done():
		return nil, fmt.Errorf("volume %q: waiting for another operation on it: %w", name, context.Cause(ctx))
	}
	if e.gone {
		e.release()
		return nil, notFound(name)
	}
	return e, nil
}

func (e *entry) release() { e.op <- struct{}{} }

// Remove deletes a volume and its data. Whether a container needs it is for
// the caller to know; one that is mounted is an errdefs.ErrFailedPrecondition.
// From the first moment the name is free again, whatever happens to the data:
// what cannot be deleted is reported, and tried again by the next Open.
func (s *Store) Remove(ctx context.Context, name string) error {
	e, err := s.acquire(ctx, name)
	if err != nil {
		return err
	}
	defer e.release()
	if len(e.users) > 0 {
		users := slices.Sorted(maps.Keys(e.users))
		return fmt.Errorf("volume %q is mounted for %q: %w", name, users, errdefs.ErrFailedPrecondition)
	}
	dir := filepath.Join(s.root, name)
	if err := unmountBelow(dir); err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	gone, err := os.MkdirTemp(s.root, gonePrefix)
	if err != nil {
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	s.mu.Lock()
	err = os.Rename(dir, filepath.Join(gone, name))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = nil
		e.gone = true
		delete(s.volumes, name)
	}
	s.mu.Unlock()
	if err != nil {
		os.Remove(gone)
		return fmt.Errorf("remove volume %q: %w", name, err)
	}
	if err := removeTree(gone); err != nil {
		return fmt.Errorf("remove volume %q: its data could not be deleted wholly: %w", name, err)
	}
	return nil
}

// removeTree deletes a directory, but never what is mounted in it.
func removeTree(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func clone(v Volume) Volume {
	v.Options, v.Labels = maps.Clone(v.Options), maps.Clone(v.Labels)
	return v
}
