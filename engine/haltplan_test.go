package engine

import (
	"testing"

	"gantry/scheduler"

	"github.com/moby/moby/api/types/container"
)

// Dependants end before what they depend on, projects beside each other, and
// only what runs is asked to.
func TestHaltPlan(t *testing.T) {
	on := func(project, service, dependsOn string, status container.ContainerState) scheduler.Container {
		return scheduler.Container{ID: project + service, Name: project + "-" + service + "-1", Project: project, Service: service, DependsOn: dependsOn, Status: status}
	}
	sidecar := on("a", "sidecar", "", container.StateRunning)
	sidecar.NetworkMode = "container:aweb"
	lone := scheduler.Container{ID: "lone", Name: "lone", Status: container.StateRunning}
	got := haltPlan([]scheduler.Container{
		on("a", "db", "", container.StateRunning), on("a", "app", "db:service_healthy:false,gone:service_started:false", container.StatePaused),
		on("a", "web", "app:service_started:false,db:service_started:false", container.StateRunning), on("a", "job", "db:service_healthy:false", container.StateExited),
		sidecar, on("b", "db", "", container.StateRunning), lone, on("b", "again", "db:service_started:false", container.StateRestarting),
	}).String()
	want := `0 stop container lone  # the host goes down
1 stop container a-sidecar-1  # the host goes down
2 stop container a-web-1 <- 1?  # the host goes down
3 stop container a-app-1 <- 2?  # the host goes down
4 stop container a-db-1 <- 2?,3?  # the host goes down
5 stop container b-db-1  # the host goes down
`
	if got != want {
		t.Errorf("plan:\n%s", got)
	}
}
