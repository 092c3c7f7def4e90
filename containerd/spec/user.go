package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxUserFile bounds what is read of an image's passwd and group files.
const maxUserFile = 16 << 20

// lookup finds who name ("user", "user:group", numbers or names) is by the
// files below rootfs; extra groups are added by name or number.
func lookup(rootfs, name string, extra []string) (specs.User, error) {
	passwd, err := readInRoot(rootfs, "/etc/passwd")
	if err != nil {
		return specs.User{}, err
	}
	group, err := readInRoot(rootfs, "/etc/group")
	if err != nil {
		return specs.User{}, err
	}
	u, err := user.GetExecUser(name, nil, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("user %q: %v: %w", name, err, errdefs.ErrInvalidArgument)
	}
	more, err := user.GetAdditionalGroups(extra, bytes.NewReader(group))
	if err != nil {
		return specs.User{}, fmt.Errorf("additional groups %q: %v: %w", extra, err, errdefs.ErrInvalidArgument)
	}
	slices.Sort(more) // they come in no order
	out := specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid), AdditionalGids: []uint32{uint32(u.Gid)}}
	seen := map[int]bool{u.Gid: true}
	for _, g := range append(u.Sgids, more...) {
		if !seen[g] {
			seen[g] = true
			out.AdditionalGids = append(out.AdditionalGids, uint32(g))
		}
	}
	return out, nil
}

// readInRoot reads a file as a process chrooted to rootfs would see it. What
// is missing or no regular file reads as empty: a process in a running
// container may put a FIFO there, and nobody must hang on it.
func readInRoot(rootfs, name string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return nil, nil
		}
		return nil, fmt.Errorf("read %q in the container: %w", name, err)
	}
	h, err := pathrs.OpenInRoot(rootfs, name)
	if err != nil {
		return fail(err)
	}
	defer h.Close()
	st, err := h.Stat()
	if err != nil {
		return fail(err)
	}
	if !st.Mode().IsRegular() {
		return nil, nil
	}
	f, err := pathrs.Reopen(h, os.O_RDONLY)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxUserFile))
	if err != nil {
		return fail(err)
	}
	return b, nil
}
