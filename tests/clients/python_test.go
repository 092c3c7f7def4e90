package clients_test

import (
	"path/filepath"
	"testing"
)

// Debian's SDK for Python, which Docker Compose 1, Ansible and others use.
func TestPythonSDK(t *testing.T) {
	t.Parallel()
	d := start(t)
	script, err := filepath.Abs("testdata/sdk.py")
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the script", run(t, d, d.Dir, "/usr/bin/python3", script), "all is well with version 1.4")
}
