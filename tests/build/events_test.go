package build_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	moby "github.com/moby/moby/client"
)

// Each way to build tells of the image and its names, as Docker does.
func TestBuildsAreToldOf(t *testing.T) {
	t.Parallel()
	h := start(t)
	begin := time.Now()
	told := func() string {
		out := h.MustDocker("events", "--since", begin.Format(time.RFC3339Nano), "--until", time.Now().Format(time.RFC3339Nano),
			"--filter", "type=image", "--filter", "event=create", "--filter", "event=tag", "--format", "{{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.by}}")
		begin = time.Now()
		return out
	}
	h.Write("ctx/Dockerfile", "FROM "+image+"\nARG by\nLABEL by=$by\nRUN true\n")
	h.Project("shop", "name: shop\nservices:\n  web: {build: {context: ../ctx, args: {by: compose}, tags: [extra]}}\n")
	for by, build := range map[string]func(){
		"buildkit": func() {
			h.MustDocker("build", "-q", "-t", "shop-web", "-t", "extra", "--build-arg", "by=buildkit", "ctx")
		},
		"compose": func() { h.Must(h.Dir+"/shop", "build") },
		"classic": func() {
			by := "classic"
			body := tarred(t, map[string]string{"Dockerfile": "FROM " + image + "\nARG by\nLABEL by=$by\n"})
			if a, err := h.classic(body, moby.ImageBuildOptions{Tags: []string{"shop-web", "extra"}, BuildArgs: map[string]*string{"by": &by}}); err != nil || a.fail != nil {
				t.Errorf("%v %v", err, a.fail)
			}
		},
	} {
		build()
		id := strings.TrimSpace(h.MustDocker("image", "inspect", "--format", "{{.Id}}", "extra"))
		want := fmt.Sprintf("create %s %s %s\ntag %s shop-web:latest %s\ntag %s extra:latest %s\n", id, id, by, id, by, id, by)
		if got := told(); got != want {
			t.Errorf("%s: told\n%swant\n%s", by, got, want)
		}
	}
	h.MustDocker("rmi", "shop-web", "extra")
}
