// Package registry_test moves images between a real daemon and registries:
// Debian's docker-registry, and small servers of our own that answer as
// registries do on bad days.
package registry_test

import (
	"fmt"
	"io"
	"log"
	"math/rand/v2"
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

// has fails the test unless every part occurs in a text, in this order.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, p := range parts {
		i := strings.Index(rest, p)
		if i < 0 {
			t.Errorf("%q is missing, or not where it should be, in\n%s", p, text)
			return
		}
		rest = rest[i+len(p):]
	}
}

func idOf(d *harness.Daemon, ref string) string {
	d.T.Helper()
	return strings.TrimSpace(d.MustDocker("image", "inspect", "--format", "{{.Id}}", ref))
}

// noise does not compress.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// quiet is for servers that are meant to fail.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func expect(got, want string) error {
	if got != want {
		return fmt.Errorf("%q, want %q", got, want)
	}
	return nil
}
