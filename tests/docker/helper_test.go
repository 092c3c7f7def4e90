// Package docker_test drives a real daemon with the docker command line.
package docker_test

import (
	"strings"
	"testing"

	"gantry/tests/harness"
)

const image = "busybox:test"

// start runs a daemon that has a busybox image.
func start(t *testing.T, config ...string) *harness.Daemon {
	t.Helper()
	return harness.StartWith(t, image, config...)
}

// inspect returns one value of an object, by a template.
func inspect(d *harness.Daemon, object, format string) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker("inspect", "--format", format, object))
}
