package conformance

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"gantry/project"
	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
)

// source is a build of the part's image and a file, with a session that has
// them.
func (r *rig) source(ref string, edit ...func(*project.Build)) scheduler.BuildImage {
	r.Helper()
	dir := r.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content\n"), 0o644); err != nil {
		r.Fatal(err)
	}
	b := project.Build{Context: dir, DockerfileInline: "FROM " + r.image + "\nCOPY file /\n"}
	for _, e := range edit {
		e(&b)
	}
	return scheduler.BuildImage{ID: r.id(), Ref: ref, Services: []string{"app"}, Session: r.session(r.T, b), Build: b}
}

func dockerfile(text string) func(*project.Build) {
	return func(b *project.Build) { b.DockerfileInline = text }
}

// imageID is an image's, "" when there is none of that name.
func (r *rig) imageID(ref string) string {
	r.Helper()
	return r.observe(scheduler.Query{Images: []scheduler.ImageQuery{{Ref: ref}}}).Images[ref].ID
}

// builds checks what has an image's names, when, and for how long.
func builds(r *rig) {
	ref, tag := r.project+"-app:latest", r.project+":tagged"
	app := r.source(ref, func(b *project.Build) { b.Tags = []string{tag} })
	r.do(app)
	first := r.imageID(ref)
	if first == "" || first == r.imageID(r.image) || r.imageID(tag) != first {
		r.Fatalf("built %q of %q, tagged %q", first, r.imageID(r.image), r.imageID(tag))
	}
	c := r.container("app", func(c *scheduler.CreateContainer) { c.Image = ref })
	r.do(c, start(c))
	if got := r.see(c.ID).ImageID; got != first {
		r.Errorf("the container is of image %q, not %q", got, first)
	}
	app.ID = r.id() // each build has its own
	r.do(app)
	if again := r.imageID(ref); again != first {
		r.Errorf("the same build made %q, then %q", first, again)
	}

	// what fails, or is broken off, takes no names
	failing := r.source(ref, dockerfile("FROM "+r.image+"\nRUN --network=none false\n"))
	r.refused(failing)
	r.refused(r.source(ref, dockerfile("FROM base\n"), func(b *project.Build) {
		b.Contexts = map[string]string{"base": "docker-image://127.0.0.1:1/no-such:image"}
	}))
	ctx, cancel := context.WithCancel(r.context())
	cancel()
	if err := r.d.Apply(ctx, failing, func(scheduler.Progress) {}); !errors.Is(err, context.Canceled) {
		r.Errorf("a cancelled build returned %v", err)
	}
	if now := r.imageID(ref); now != first {
		r.Errorf("after builds that failed there is %q, not %q", now, first)
	}

	r.do(r.source(ref, dockerfile("FROM base\nLABEL version=2\n"), func(b *project.Build) {
		b.Contexts = map[string]string{"base": "docker-image://" + tag}
	}))
	if second := r.imageID(ref); second == "" || second == first || r.imageID(tag) != first {
		r.Errorf("another build made %q, was %q; its tag is %q", second, first, r.imageID(tag))
	}
	if got := r.see(c.ID); got.ImageID != first || got.Status != container.StateRunning {
		r.Errorf("the container that was there: %+v", got)
	}

	r.clean() // what a container is of is not removed
	r.do(scheduler.RemoveImage{Ref: ref}, scheduler.RemoveImage{Ref: tag}, scheduler.RemoveImage{Ref: tag})
	if left := r.imageID(ref) + r.imageID(tag); left != "" {
		r.Errorf("removed, and still there: %q", left)
	}
}
