package docker_test

import (
	"strings"
	"testing"
)

func TestDiffShowsWhatTheContainerChanged(t *testing.T) {
	t.Parallel()
	d := start(t)
	d.MustDocker("run", "-d", "--name", "ct", "--init", "-v", "data:/app/data", "-v", "/tmp:/host", "--tmpfs", "/fast", image, "sleep", "1000")
	if got := d.MustDocker("diff", "ct"); got != "" {
		t.Errorf("before anything changed:\n%s", got)
	}
	d.MustDocker("exec", "ct", "sh", "-c", "echo x > /app/new; mkdir /root/empty; rm /etc/group; echo y >> /etc/passwd; chmod 700 /home; echo v > /app/data/f; echo t > /fast/f; echo h >> /etc/hosts; touch /dev/x")
	want := strings.TrimSpace(`
A /app
A /app/new
C /etc
D /etc/group
C /etc/passwd
C /home
C /root
A /root/empty`)
	if got := strings.TrimSpace(d.MustDocker("diff", "ct")); got != want {
		t.Errorf("running:\n%s\nwant:\n%s", got, want)
	}
	d.MustDocker("kill", "ct")
	if got := strings.TrimSpace(d.MustDocker("diff", "ct")); got != want {
		t.Errorf("stopped:\n%s\nwant:\n%s", got, want)
	}
	d.FailDocker("diff", "nobody")
}
