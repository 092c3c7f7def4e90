package memory_test

import (
	"testing"

	"gantry/scheduler"
	"gantry/scheduler/conformance"
	"gantry/scheduler/memory"
)

func TestConformance(t *testing.T) {
	conformance.Test(t, func(*testing.T) scheduler.Driver {
		d := memory.New()
		d.Load("busybox", scheduler.Image{ID: "sha256:busybox"})
		return d
	}, "busybox")
}
