package containerd

import (
	"fmt"
	"testing"

	"github.com/containerd/errdefs"
)

func TestPlainlyKeepsCauseAndClass(t *testing.T) {
	long := fmt.Errorf("failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: \"x\": not there: %w", errdefs.ErrNotFound)
	got := plainly(long)
	if want := `exec: "x": not there: not found`; got.Error() != want || !errdefs.IsNotFound(got) {
		t.Errorf("got %q, class kept: %v", got, errdefs.IsNotFound(got))
	}
	other := fmt.Errorf("something else: failed to create shim task: x")
	if plainly(other) != other || plainly(nil) != nil {
		t.Error("an error without the layers was changed")
	}
}
