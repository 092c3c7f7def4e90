package docker_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

type event struct {
	Type, Action string
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	Scope    string `json:"scope"`
	TimeNano int64  `json:"timeNano"`
}

func parseEvents(t *testing.T, text string) (all []event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("event %q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func TestEventsTellEverything(t *testing.T) {
	t.Parallel()
	d := start(t)
	begin := time.Now()
	events := func(filters ...string) []event {
		t.Helper()
		args := []string{"events", "--format", "json", "--since", begin.Format(time.RFC3339Nano), "--until", time.Now().Format(time.RFC3339Nano)}
		for _, f := range filters {
			args = append(args, "--filter", f)
		}
		return parseEvents(t, d.MustDocker(args...))
	}
	id := strings.TrimSpace(d.MustDocker("run", "-d", "--name", "box", "--label", "a=b", "--health-cmd", "true", "--health-interval", "1s", image, "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"))
	if r := d.Docker("exec", "box", "sh", "-c", "exit 4"); r.Code != 4 {
		t.Errorf("%v", r)
	}
	d.MustDocker("top", "box")
	d.MustDocker("pause", "box")
	d.MustDocker("unpause", "box")
	d.MustDocker("update", "--memory", "64m", "--memory-swap", "64m", "box")
	d.MustDocker("rename", "box", "crate")
	d.Write("file", "x")
	d.MustDocker("cp", d.Dir+"/file", "crate:/tmp/file")
	d.MustDocker("cp", "crate:/tmp/file", d.Dir+"/back")
	d.MustDocker("export", "-o", d.Dir+"/root.tar", "crate")
	d.MustDocker("commit", "crate", "made:1")
	d.MustDocker("restart", "crate")
	d.MustDocker("stop", "-t", "30", "crate")
	d.MustDocker("rm", "crate")
	os.Remove(d.Dir + "/root.tar")

	ours := events("container=" + id)
	var actions []string
	for i, e := range ours {
		actions = append(actions, e.Action)
		if e.Type != "container" || e.Scope != "local" || e.Actor.Attributes["a"] != "b" || e.Actor.Attributes["image"] != image || e.Actor.Attributes["name"] == "" {
			t.Errorf("event %+v", e)
		}
		if i > 0 && e.TimeNano < ours[i-1].TimeNano {
			t.Errorf("%s comes after %s, and was before", e.Action, ours[i-1].Action)
		}
	}
	at := 0 // in this order, others between
	for _, wanted := range []string{"create", "start", "exec_create: sh -c exit 4", "exec_start: sh -c exit 4", "exec_die", "top", "pause", "unpause", "update", "rename",
		"extract-to-dir", "archive-path", "export", "commit", "kill", "die", "start", "restart", "kill", "die", "stop", "destroy"} {
		i := slices.Index(actions[at:], wanted)
		if i < 0 {
			t.Errorf("no %q after %q in %q", wanted, actions[:at], actions[at:])
			continue
		}
		at += i + 1
	}
	attribute := func(key string, filters ...string) (values []string) {
		for _, e := range events(append(filters, "container="+id)...) {
			values = append(values, e.Actor.Attributes[key])
		}
		return values
	}
	for key, c := range map[string]struct {
		filter string
		want   []string
	}{"exitCode": {"event=die", []string{"3", "3"}}, "signal": {"event=kill", []string{"15", "15"}}, "oldName": {"event=rename", []string{"/box"}}} {
		if got := attribute(key, c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s of %s: %q", key, c.filter, got)
		}
	}
	if execs := attribute("execID", "event=exec_create", "event=exec_start", "event=exec_die"); len(execs) != 3 || execs[0] == "" || execs[0] != execs[1] || execs[1] != execs[2] {
		t.Errorf("IDs of the exec: %q", execs)
	}
	if got := events("event=health_status", "label=a=b"); len(got) == 0 || got[0].Action != "health_status: healthy" {
		t.Errorf("health: %+v", got)
	}

	// of all kinds, and of a project's containers too
	dir := d.Project("shop", "services: {one: {image: "+image+", command: sleep 1000, init: true, volumes: [data:/data]}}\nvolumes: {data: {}}\n")
	d.Must(dir, "up", "-d")
	d.Must(dir, "down", "-v", "-t", "1")
	for filters, want := range map[string]string{
		"type=container,label=com.docker.compose.project=shop,event=create": "container create",
		"type=container,label=com.docker.compose.project=shop,event=die":    "container die",
		"type=network,network=shop_default,event=create":                    "network create",
		"type=network,network=shop_default,event=destroy":                   "network destroy",
		"type=volume,volume=shop_data,event=create":                         "volume create",
		"type=volume,event=destroy":                                         "volume destroy",
		"scope=local,image=" + image + ",event=commit":                      "container commit",
		"image=busybox,event=rename":                                        "container rename",
	} {
		got := events(strings.Split(filters, ",")...)
		if len(got) == 0 || fmt.Sprintf("%s %s", got[0].Type, got[0].Action) != want {
			t.Errorf("%s: %+v", filters, got)
		}
	}
	for _, none := range []string{"scope=swarm", "daemon=nobody", "container=nobody", "type=image,event=die", "label=a=c"} {
		if got := events(strings.Split(none, ",")...); len(got) != 0 {
			t.Errorf("%s: %+v", none, got)
		}
	}
	if r := d.FailDocker("events", "--until", "1s", "--filter", "nonsense=1"); !strings.Contains(r.Stderr, "invalid filter") {
		t.Errorf("%v", r)
	}
	d.MustDocker("rmi", "made:1")
}
