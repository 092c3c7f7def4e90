package containerd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ctd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
)

// connect uses a containerd that runs elsewhere on this host (2.0 or newer).
func (r *Runtime) connect(run context.Context) error {
	client, err := ctd.New(r.cfg.Address, ctd.WithDefaultNamespace(r.cfg.Namespace))
	if err != nil {
		return fmt.Errorf("containerd at %q: %w: %w", r.cfg.Address, err, errdefs.ErrUnavailable)
	}
	r.client, r.snapshotter = client, "overlayfs"
	if r.shim, err = shimWrapper(r.cfg); err != nil {
		return err
	}
	r.subscribe(run)
	return nil
}

// shimWrapper writes a script that gives the shim its environment: the other
// containerd has its own configuration of shims.
func shimWrapper(cfg Config) (string, error) {
	path := filepath.Join(cfg.State, "gantry-shim")
	script := fmt.Sprintf("#!/bin/sh\n%s=%s exec %s \"$@\"\n", exitsEnv, shellQuote(cfg.ExitsDir), shellQuote(cfg.ShimPath))
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("shim's wrapper: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("shim's wrapper: %w", err)
	}
	return path, nil
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
