package containerd

import "strings"

// runcError says what runc said, without the layers that it came through. It
// keeps the error's class.
type runcError struct {
	text string
	err  error
}

func (e *runcError) Error() string { return e.text }
func (e *runcError) Unwrap() error { return e.err }

// layers are what containerd and runc put before the cause of a failure.
var layers = []string{"failed to create shim task: ", "OCI runtime create failed: ", "OCI runtime exec failed: ", "OCI runtime start failed: ",
	"runc create failed: ", "runc exec failed: ", "exec failed: ", "unable to start container process: "}

// plainly cuts the layers off an error's text.
func plainly(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for cut := true; cut; {
		cut = false
		for _, l := range layers {
			if rest, ok := strings.CutPrefix(text, l); ok {
				text, cut = rest, true
			}
		}
	}
	if text == err.Error() {
		return err
	}
	return &runcError{text, err}
}
