package docker_test

import (
	"slices"
	"strings"
	"testing"
)

func TestExportHoldsTheRootAlone(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "ct", "-v", "data:/data", image, "sleep", "1000")
	d.MustDocker("exec", "ct", "sh", "-c", "echo inside > /data/secret; echo mine > /root/f; ln /root/f /root/g; mkfifo /root/p; chown 3:4 /root/f; echo h >> /etc/hosts")
	for _, state := range []string{"running", "stopped"} {
		if state == "stopped" {
			d.MustDocker("kill", "ct")
		}
		names, h, contents := archived(t, d.MustDocker("export", "ct"))
		if contents["root/f"] != "mine\n" || h["root/f"].Uid != 3 || h["root/f"].Gid != 4 || h["root/g"].Linkname != "root/f" {
			t.Errorf("%s: file and link: %+v %+v", state, h["root/f"], h["root/g"])
		}
		if h["data/"] == nil || h["proc/"] == nil || h["bin/busybox"] == nil || h["root/p"] == nil {
			t.Errorf("%s: something is missing: %q", state, names)
		}
		if slices.ContainsFunc(names, func(n string) bool {
			return strings.HasPrefix(n, "data/") && n != "data/" || strings.HasPrefix(n, "proc/") && n != "proc/" || strings.HasPrefix(n, "/") || strings.HasPrefix(n, ".")
		}) {
			t.Errorf("%s: what does not belong there: %q", state, names)
		}
		if contents["etc/hosts"] != "" {
			t.Errorf("%s: /etc/hosts is the mounted one: %q", state, contents["etc/hosts"])
		}
	}
	d.FailDocker("export", "nobody")
}
