package clients_test

import (
	"strings"
	"testing"
)

// What Docker Compose made is a project here: its labels say so.
func TestProjectsOfDockerCompose(t *testing.T) {
	t.Parallel()
	d := start(t)
	dir := d.Project("shop", "services: {web: {image: "+image+", command: sleep 1000, init: true, volumes: [data:/data]}}\nvolumes: {data: {}}\n")
	const label = "com.docker.compose."
	// as Docker Compose 2.40 makes them
	network := strings.TrimSpace(d.MustDocker("network", "create", "--label", label+"project=shop", "--label", label+"network=default",
		"--label", label+"config-hash=cf68f29b281a26ea487d2f198485cc165808337181dfb0f69a28e1186000dcfa", "shop_default"))
	d.MustDocker("volume", "create", "--label", label+"project=shop", "--label", label+"volume=data", "shop_data")
	d.MustDocker("run", "-d", "--init", "--name", "shop-web-1", "--network", "shop_default", "-v", "shop_data:/data",
		"--label", label+"project=shop", "--label", label+"service=web", "--label", label+"container-number=1", "--label", label+"oneoff=False",
		"--label", label+"config-hash=of-its-own", "--label", label+"image=sha256:of-its-own",
		"--label", label+"project.working_dir="+dir, "--label", label+"project.config_files="+dir+"/compose.yaml", image, "sleep", "1000")
	if got := d.MustDocker("inspect", "-f", `{{index .Config.Labels "`+label+`image"}}`, "shop-web-1"); got != "sha256:of-its-own\n" {
		t.Errorf("the image's label became %s", got)
	}
	want(t, "ls", d.Must(d.Dir, "ls"), "shop", "running(1)", dir+"/compose.yaml")
	want(t, "ps", d.Must(dir, "ps"), "shop-web-1", "Up")
	d.MustDocker("exec", "shop-web-1", "sh", "-c", "echo kept > /data/file")
	d.Must(dir, "up", "-d") // replaces the container: its configuration is none that we can compare
	if got := strings.TrimSpace(d.MustDocker("network", "inspect", "-f", "{{.Id}}", "shop_default")); got != network {
		t.Errorf("network %s was replaced by %s", network, got)
	}
	if got := d.Must(dir, "exec", "-T", "web", "cat", "/data/file"); got != "kept\n" {
		t.Errorf("the volume has %q", got)
	}
	d.Must(dir, "down", "-v")
	d.NoLeaks()
}
