package engine

import (
	"reflect"
	"testing"

	"github.com/moby/moby/api/types/container"
)

func TestDefaultsAreForWhoDoesNotChoose(t *testing.T) {
	files := func(n int64) *container.Ulimit { return &container.Ulimit{Name: "nofile", Soft: n, Hard: n} }
	d := Defaults{
		Init: true, NoNewPrivileges: true, ShmSize: 1 << 20, Ulimits: []*container.Ulimit{files(10), {Name: "core"}},
		IpcMode: "shareable", CgroupnsMode: "private", CgroupParent: "/p",
	}
	var silent container.HostConfig
	d.complete(&silent, false)
	want := container.HostConfig{Init: new(true), SecurityOpt: []string{"no-new-privileges"}, ShmSize: 1 << 20, IpcMode: "shareable", CgroupnsMode: "private"}
	want.CgroupParent, want.Ulimits = "/p", d.Ulimits
	if !reflect.DeepEqual(silent, want) {
		t.Errorf("%+v", silent)
	}

	chosen := container.HostConfig{Init: new(false), SecurityOpt: []string{"no-new-privileges=false"}, ShmSize: 2 << 20, IpcMode: "private", CgroupnsMode: "host"}
	chosen.CgroupParent, chosen.Ulimits = "/q", []*container.Ulimit{files(20), {Name: "core", Hard: 1}}
	got := chosen
	d.complete(&got, false)
	if !reflect.DeepEqual(got, chosen) {
		t.Errorf("%+v", got)
	}

	for v2, want := range map[bool]container.CgroupnsMode{false: "", true: "private"} {
		privileged := container.HostConfig{Privileged: true}
		if d.complete(&privileged, v2); privileged.CgroupnsMode != want {
			t.Errorf("a privileged one, cgroup v2 %t: %q", v2, privileged.CgroupnsMode)
		}
	}
}
