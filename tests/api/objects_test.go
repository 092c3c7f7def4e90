package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"gantry/tests/busybox"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
	moby "github.com/moby/moby/client"
)

func TestImages(t *testing.T) {
	h := newHost(t)
	var archive bytes.Buffer
	h.must(busybox.Archive(&archive, "registry.example/team/tool:1", busybox.Cmd("echo", "tool"), busybox.Label("who", "me")))
	r, err := h.ImageLoad(h.ctx, &archive)
	h.must(err)
	var said string
	for dec := json.NewDecoder(r); ; {
		var m jsonstream.Message
		if err := dec.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		said += m.Stream
	}
	r.Close()
	if said != "Loaded image: registry.example/team/tool:1\n" {
		t.Errorf("load said %q", said)
	}
	got, err := h.ImageInspect(h.ctx, "registry.example/team/tool:1")
	h.must(err)
	if got.Config == nil || got.Config.Labels["who"] != "me" || !strings.HasPrefix(got.ID, "sha256:") {
		t.Errorf("inspect: %+v", got)
	}
	_, err = h.ImageTag(h.ctx, moby.ImageTagOptions{Source: "registry.example/team/tool:1", Target: "tool:2"})
	h.must(err)
	list, err := h.ImageList(h.ctx, moby.ImageListOptions{Filters: moby.Filters{}.Add("reference", "tool")})
	h.must(err)
	if len(list.Items) != 1 || list.Items[0].ID != got.ID || !slices.Contains(list.Items[0].RepoTags, "tool:2") {
		t.Errorf("list: %+v", list.Items)
	}
	user := h.create("user", container.Config{Image: "tool:2"}, container.HostConfig{})
	_, err = h.ImageRemove(h.ctx, "registry.example/team/tool:1", moby.ImageRemoveOptions{})
	h.must(err)
	if _, err := h.ImageRemove(h.ctx, "tool:2", moby.ImageRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("remove of an image in use: %v", err)
	}
	_, err = h.ContainerRemove(h.ctx, user, moby.ContainerRemoveOptions{})
	h.must(err)
	_, err = h.ImageRemove(h.ctx, "tool:2", moby.ImageRemoveOptions{})
	h.must(err)
	if _, err := h.ImageInspect(h.ctx, "tool:2"); !errdefs.IsNotFound(err) {
		t.Errorf("removed: %v", err)
	}
}

func TestCommitMakesAnImage(t *testing.T) {
	h := newHost(t)
	id := h.run("changed", "echo changed > /mark")
	h.wait(id, container.WaitConditionNotRunning)()
	made, err := h.ContainerCommit(h.ctx, id, moby.ContainerCommitOptions{Reference: "made:1", Changes: []string{`CMD ["cat", "/mark"]`}})
	h.must(err)
	if !strings.HasPrefix(made.ID, "sha256:") {
		t.Errorf("commit: %+v", made)
	}
	second := h.create("second", container.Config{Image: "made:1"}, container.HostConfig{})
	h.start(second)
	h.wait(second, container.WaitConditionNotRunning)()
	if out, _ := h.logs(second, moby.ContainerLogsOptions{}); out != "changed\n" {
		t.Errorf("the new image says %q", out)
	}
	for _, c := range []string{id, second} {
		_, err = h.ContainerRemove(h.ctx, c, moby.ContainerRemoveOptions{})
		h.must(err)
	}
	_, err = h.ImageRemove(h.ctx, "made:1", moby.ImageRemoveOptions{})
	h.must(err)
}

func TestVolumes(t *testing.T) {
	h := newHost(t)
	made, err := h.VolumeCreate(h.ctx, moby.VolumeCreateOptions{Name: "data", Labels: map[string]string{"k": "v"}})
	h.must(err)
	if made.Volume.Name != "data" || made.Volume.Driver != "local" || made.Volume.Mountpoint == "" {
		t.Errorf("created: %+v", made.Volume)
	}
	list, err := h.VolumeList(h.ctx, moby.VolumeListOptions{Filters: moby.Filters{}.Add("label", "k=v")})
	h.must(err)
	if len(list.Items) != 1 || list.Items[0].Name != "data" {
		t.Errorf("list: %+v", list.Items)
	}
	hc := container.HostConfig{Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "data", Target: "/data"}}}
	w := h.create("writer", container.Config{Cmd: []string{"sh", "-c", "echo kept > /data/f"}}, hc)
	h.start(w)
	h.wait(w, container.WaitConditionNotRunning)()
	if _, err := h.VolumeRemove(h.ctx, "data", moby.VolumeRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("remove of a volume in use: %v", err)
	}
	r := h.create("reader", container.Config{Cmd: []string{"cat", "/data/f"}}, hc)
	h.start(r)
	h.wait(r, container.WaitConditionNotRunning)()
	if out, _ := h.logs(r, moby.ContainerLogsOptions{}); out != "kept\n" {
		t.Errorf("read %q", out)
	}
	for _, c := range []string{w, r} {
		_, err := h.ContainerRemove(h.ctx, c, moby.ContainerRemoveOptions{RemoveVolumes: true})
		h.must(err)
	}
	got, err := h.VolumeInspect(h.ctx, "data", moby.VolumeInspectOptions{})
	h.must(err) // a named volume outlives its containers
	if got.Volume.Labels["k"] != "v" {
		t.Errorf("inspect: %+v", got.Volume)
	}
	_, err = h.VolumeRemove(h.ctx, "data", moby.VolumeRemoveOptions{})
	h.must(err)
	if _, err := h.VolumeInspect(h.ctx, "data", moby.VolumeInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("removed: %v", err)
	}
}

func TestNetworks(t *testing.T) {
	h := newHost(t)
	made, err := h.NetworkCreate(h.ctx, "front", moby.NetworkCreateOptions{Labels: map[string]string{"k": "v"}})
	h.must(err)
	if _, err := h.NetworkCreate(h.ctx, "front", moby.NetworkCreateOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("a second network of the name: %v", err)
	}
	id := h.create("node", container.Config{Cmd: []string{"sleep", "1000"}}, container.HostConfig{NetworkMode: "front"})
	h.start(id)
	got, err := h.NetworkInspect(h.ctx, "front", moby.NetworkInspectOptions{})
	h.must(err)
	if got.Network.ID != made.ID || got.Network.Labels["k"] != "v" || len(got.Network.Containers) != 1 || got.Network.Containers[id].Name != "node" {
		t.Errorf("inspect: %+v", got.Network)
	}
	if ep := h.inspect(id).NetworkSettings.Networks["front"]; ep == nil || !ep.IPAddress.IsValid() || ep.NetworkID != made.ID {
		t.Errorf("the container's end: %+v", ep)
	}
	if _, err := h.NetworkRemove(h.ctx, "front", moby.NetworkRemoveOptions{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("remove of a network in use: %v", err)
	}
	_, err = h.ContainerRemove(h.ctx, id, moby.ContainerRemoveOptions{Force: true})
	h.must(err)
	_, err = h.NetworkRemove(h.ctx, made.ID[:12], moby.NetworkRemoveOptions{})
	h.must(err)
	list, err := h.NetworkList(h.ctx, moby.NetworkListOptions{Filters: moby.Filters{}.Add("name", "front")})
	h.must(err)
	if len(list.Items) != 0 {
		t.Errorf("list: %+v", list.Items)
	}
}

// docker run speaks of the network that one gets as "default".
func TestDefaultNetwork(t *testing.T) {
	h := newHost(t)
	got, err := h.ContainerCreate(h.ctx, moby.ContainerCreateOptions{Name: "plain", Config: &container.Config{Image: image, Cmd: []string{"sleep", "1000"}},
		HostConfig:       &container.HostConfig{NetworkMode: "default"},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{"default": {}}}})
	h.must(err)
	h.start(got.ID)
	if ends := h.inspect(got.ID).NetworkSettings.Networks; len(ends) != 1 || ends["bridge"] == nil || !ends["bridge"].IPAddress.IsValid() {
		t.Errorf("networks: %+v", ends)
	}
	_, err = h.ContainerRemove(h.ctx, got.ID, moby.ContainerRemoveOptions{Force: true})
	h.must(err)
}

func TestEvents(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	got := h.Events(ctx, moby.EventsListOptions{Filters: moby.Filters{}.Add("type", "container").Add("label", "watched")})
	id := h.create("watched", container.Config{Cmd: []string{"sh", "-c", "exit 6"}, Labels: map[string]string{"watched": "yes"}}, container.HostConfig{})
	h.run("unwatched", "true")
	h.start(id)
	h.wait(id, container.WaitConditionNotRunning)()
	_, err := h.ContainerRemove(h.ctx, id, moby.ContainerRemoveOptions{})
	h.must(err)
	var actions []events.Action
	for len(actions) == 0 || actions[len(actions)-1] != events.ActionDestroy {
		select {
		case m := <-got.Messages:
			if m.Actor.ID != id || m.Actor.Attributes["name"] != "watched" {
				t.Errorf("event %+v", m)
			}
			if m.Action == events.ActionDie && m.Actor.Attributes["exitCode"] != "6" {
				t.Errorf("event %+v", m)
			}
			actions = append(actions, m.Action)
		case err := <-got.Err:
			t.Fatalf("after %v: %v", actions, err)
		}
	}
	for _, want := range []events.Action{events.ActionCreate, events.ActionStart, events.ActionDie, events.ActionDestroy} {
		i := slices.Index(actions, want)
		if i < 0 {
			t.Fatalf("no %s in the right place: %v", want, actions)
		}
		actions = actions[i+1:]
	}
}

func TestSystem(t *testing.T) {
	h := newHost(t)
	h.create("some", container.Config{Cmd: []string{"true"}}, container.HostConfig{})
	info, err := h.Info(h.ctx, moby.InfoOptions{})
	h.must(err)
	if info.Info.Containers != 1 || info.Info.Images != 1 || info.Info.OSType != "linux" || info.Info.NCPU == 0 || info.Info.DockerRootDir != h.daemon.Data() {
		t.Errorf("info: %+v", info.Info)
	}
	v, err := h.ServerVersion(h.ctx, moby.ServerVersionOptions{})
	h.must(err)
	if v.Version == "" || v.APIVersion == "" || v.Platform.Name != "Gantry" {
		t.Errorf("version: %+v", v)
	}
}
