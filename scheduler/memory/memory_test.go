package memory_test

import (
	"testing"

	"gantry/project"
	"gantry/scheduler"
	"gantry/scheduler/conformance"
	"gantry/scheduler/memory"
)

func TestConformance(t *testing.T) {
	conformance.Test(t, func(*testing.T) (scheduler.Driver, conformance.Session) {
		d := memory.New()
		d.Load("busybox", scheduler.Image{ID: "sha256:busybox"})
		return d, func(*testing.T, project.Build) string { return "session" }
	}, "busybox")
}
