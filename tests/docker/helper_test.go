// Package docker_test drives a real daemon with the docker command line.
package docker_test

import (
	"strings"
	"testing"

	"gantry/tests/harness"
)

const image = "busybox:test"

// start runs a daemon that has a busybox image. All containers are removed at
// the test's end, before the harness looks for what is left.
func start(t *testing.T, config ...string) *harness.Daemon {
	t.Helper()
	d := harness.Start(t, config...)
	d.Busybox(image)
	t.Cleanup(func() {
		if ids := strings.Fields(d.MustDocker("ps", "-aq", "--no-trunc")); len(ids) > 0 {
			d.MustDocker(append([]string{"rm", "-fv"}, ids...)...)
		}
	})
	return d
}

// inspect returns one value of an object, by a template.
func inspect(d *harness.Daemon, object, format string) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker("inspect", "--format", format, object))
}
