package build_test

import (
	"strings"
	"testing"
)

func TestBuiltImageRuns(t *testing.T) {
	t.Parallel()
	h := start(t)
	out, err := h.built("app:1", map[string]string{
		"Dockerfile": "FROM " + image + "\nCOPY greeting /greeting\nRUN cat /greeting >/made\nCMD [\"cat\", \"/made\"]\n",
		"greeting":   "hello\n",
	}, nil)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, h.Log())
	}
	if got := h.MustDocker("run", "--rm", "app:1"); got != "hello\n" {
		t.Errorf("the built image printed %q", got)
	}
	if got := h.MustDocker("image", "ls", "-q", "app"); strings.TrimSpace(got) == "" {
		t.Error("the built image is not listed")
	}
	h.MustDocker("image", "rm", "app:1")
}
