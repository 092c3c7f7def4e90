// Package examples_test plans, builds and runs what is in examples/.
package examples_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"gantry/tests/harness"
)

var update = flag.Bool("update", false, "write the golden plans anew")

const examples = "../../examples"

// The plans of the examples where nothing is there yet but images that are pulled.
func TestPlans(t *testing.T) {
	t.Parallel()
	d := harness.Start(t)
	pulled := []string{"nginx:latest", "postgres:15", "gantry-example-app:latest"}
	for _, ref := range pulled {
		d.Busybox(ref)
	}
	for _, name := range []string{"nginx-app-db", "app-redis", "go-multistage"} {
		dir := filepath.Join(examples, name)
		golden := filepath.Join(dir, "plan.txt")
		plan := d.Must(dir, "up", "--dry-run")
		if *update {
			if err := os.WriteFile(golden, []byte(plan), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if plan != string(want) {
			t.Errorf("the plan is\n%s\n%s has\n%s", plan, golden, want)
		}
	}
	d.MustDocker(append([]string{"image", "rm"}, pulled...)...)
}
