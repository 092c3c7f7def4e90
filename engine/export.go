package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/moby/moby/api/types/events"
)

// ExportContainer writes the file system of a container to w as a tar archive,
// without what is mounted in it.
func (e *Engine) ExportContainer(ctx context.Context, ref string, w io.Writer) error {
	c, err := e.find(ref)
	if err != nil {
		return err
	}
	t, err := e.rt.RootFiles(ctx, c.id)
	if err != nil {
		return fmt.Errorf("export container %q: %w", c.name(), err)
	}
	defer t.Close()
	if err := t.PackAll(ctx, w); err != nil {
		return fmt.Errorf("export container %q: %w", c.name(), err)
	}
	e.emitContainer(c, events.ActionExport, nil)
	return nil
}
