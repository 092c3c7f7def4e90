package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"gantry/api/client"
	"gantry/project"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func summaries() []container.Summary {
	labels := func(service, number string) map[string]string {
		return map[string]string{project.LabelProject: "demo", project.LabelService: service, project.LabelNumber: number}
	}
	return []container.Summary{
		{
			ID: "0123456789abcdef0123456789abcdef", Names: []string{"/demo-db-1"}, Image: "postgres:16", Labels: labels("db", "1"),
			Command: "docker-entrypoint.sh postgres -c shared_buffers=1GB", Created: now.Add(-2 * time.Hour).Unix(),
			State: container.StateRunning, Status: "Up 2 hours (healthy)", Health: &container.HealthSummary{Status: container.Healthy},
			Ports: []container.PortSummary{{PrivatePort: 5432, Type: "tcp"}},
		},
		{
			ID: "fedcba9876543210fedcba9876543210", Names: []string{"/demo-web-1"}, Image: "nginx", Labels: labels("web", "1"),
			Command: "nginx", Created: now.Add(-40 * time.Second).Unix(), State: container.StateExited, Status: "Exited (3) 4 seconds ago",
			Ports: []container.PortSummary{
				{IP: netip.MustParseAddr("0.0.0.0"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
				{IP: netip.MustParseAddr("::"), PrivatePort: 80, PublicPort: 8080, Type: "tcp"},
			},
		},
	}
}

func printed(t *testing.T, f func(w *bytes.Buffer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := f(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPsOutputs(t *testing.T) {
	for _, test := range []struct {
		name string
		o    psOptions
		want string
	}{
		{"table", psOptions{format: "table"}, "" +
			"NAME         IMAGE         COMMAND                  SERVICE   CREATED          STATUS                     PORTS\n" +
			"demo-db-1    postgres:16   \"docker-entrypoint.s…\"   db        2 hours ago      Up 2 hours (healthy)       5432/tcp\n" +
			"demo-web-1   nginx         \"nginx\"                  web       40 seconds ago   Exited (3) 4 seconds ago   0.0.0.0:8080->80/tcp, [::]:8080->80/tcp\n"},
		{"quiet", psOptions{quiet: true}, "0123456789abcdef0123456789abcdef\nfedcba9876543210fedcba9876543210\n"},
		{"services", psOptions{services: true}, "db\nweb\n"},
		{"template", psOptions{format: "{{.ID}} {{.State}} {{.ExitCode}} {{.Health}}"}, "0123456789ab running 0 healthy\nfedcba987654 exited 3 \n"},
		{"table template", psOptions{format: "table {{.Name}}\\t{{.ExitCode}}", noTrunc: true}, "NAME         EXIT CODE\ndemo-db-1    0\ndemo-web-1   3\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if d := cmp.Diff(test.want, printed(t, func(w *bytes.Buffer) error { return test.o.print(w, summaries(), now) })); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPsJSON(t *testing.T) {
	out := printed(t, func(w *bytes.Buffer) error { return psOptions{format: "json"}.print(w, summaries(), now) })
	lines := bytes.Split(bytes.TrimSpace([]byte(out)), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%d lines, want one per container: %s", len(lines), out)
	}
	var row map[string]any
	if err := json.Unmarshal(lines[1], &row); err != nil {
		t.Fatal(err)
	}
	// the keys that scripts read. Source: docker compose ps --format json.
	for _, key := range []string{"Command", "CreatedAt", "ExitCode", "Health", "ID", "Image", "Labels", "LocalVolumes", "Mounts", "Name", "Names", "Networks", "Ports", "Project", "Publishers", "RunningFor", "Service", "Size", "State", "Status"} {
		if _, ok := row[key]; !ok {
			t.Errorf("key %q is missing", key)
		}
	}
	publishers, err := json.Marshal(row["Publishers"])
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Protocol":"tcp","PublishedPort":8080,"TargetPort":80,"URL":"0.0.0.0"},{"Protocol":"tcp","PublishedPort":8080,"TargetPort":80,"URL":"::"}]`
	if string(publishers) != want || row["ExitCode"] != 3.0 || row["Name"] != "demo-web-1" {
		t.Errorf("row %s", lines[1])
	}
}

func TestPsFilters(t *testing.T) {
	demo := target{name: "demo", definition: &project.Project{Services: []project.Service{{Name: "web"}}}}
	for _, test := range []struct {
		o        psOptions
		services []string
		want     []string
	}{
		{psOptions{orphans: true}, nil, []string{"demo-db-1", "demo-web-1"}},
		{psOptions{orphans: false}, nil, []string{"demo-web-1"}},
		{psOptions{orphans: true}, []string{"db"}, []string{"demo-db-1"}},
		{psOptions{orphans: true, filter: "status=exited"}, nil, []string{"demo-web-1"}},
	} {
		if err := test.o.check(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range summaries() {
			if test.o.shows(demo, s, test.services) {
				got = append(got, nameOf(s))
			}
		}
		if d := cmp.Diff(test.want, got); d != "" {
			t.Errorf("%+v: %s", test.o, d)
		}
	}
}

func TestLsOutputs(t *testing.T) {
	list := []client.Summary{{Name: "demo", States: map[string]int{"running": 2, "exited": 1}, ConfigFiles: []string{"/a.yaml", "/b.yaml"}}}
	for format, want := range map[string]string{
		"table": "NAME      STATUS                  CONFIG FILES\ndemo      exited(1), running(2)   /a.yaml,/b.yaml\n",
		"json":  `[{"ConfigFiles":"/a.yaml,/b.yaml","Name":"demo","Status":"exited(1), running(2)"}]` + "\n",
	} {
		if d := cmp.Diff(want, printed(t, func(w *bytes.Buffer) error { return lsOptions{format: format}.print(w, list) })); d != "" {
			t.Errorf("%s: %s", format, d)
		}
	}
	if got := printed(t, func(w *bytes.Buffer) error { return lsOptions{format: "json"}.print(w, nil) }); got != "[]\n" {
		t.Errorf("no projects as JSON: %q", got)
	}
}

func TestImagesOutputs(t *testing.T) {
	created := now.Add(-48 * time.Hour)
	used := []usedImage{{ID: "sha256:0123456789abcdef", ContainerName: "demo-db-1", Repository: "postgres", Tag: "16", Platform: "linux/amd64", Size: 123456789, Created: &created}}
	for format, want := range map[string]string{
		"table": "CONTAINER   REPOSITORY   TAG       PLATFORM      IMAGE ID       SIZE      CREATED\n" +
			"demo-db-1   postgres     16        linux/amd64   0123456789ab   123MB     2 days ago\n",
		"json": `[{"ID":"sha256:0123456789abcdef","ContainerName":"demo-db-1","Repository":"postgres","Tag":"16","Platform":"linux/amd64","Size":123456789,"Created":"2026-05-04T07:08:09Z"}]` + "\n",
	} {
		if d := cmp.Diff(want, printed(t, func(w *bytes.Buffer) error { return imagesOptions{format: format}.print(w, used, now) })); d != "" {
			t.Errorf("%s: %s", format, d)
		}
	}
	if got := printed(t, func(w *bytes.Buffer) error { return imagesOptions{quiet: true}.print(w, append(used, used...), now) }); got != "0123456789abcdef\n" {
		t.Errorf("quiet: %q", got)
	}
}

func TestRepositoryOf(t *testing.T) {
	for in, want := range map[string][2]string{
		"nginx": {"nginx", "latest"}, "docker.io/library/nginx:1.2": {"nginx", "1.2"}, "example.com:5000/a/b:c": {"example.com:5000/a/b", "c"},
		"nginx@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": {"nginx", "<none>"}, "NOT A NAME": {"NOT A NAME", "<none>"},
	} {
		if repository, tag := repositoryOf(in); [2]string{repository, tag} != want {
			t.Errorf("repositoryOf(%q) = %q, %q", in, repository, tag)
		}
	}
}

func TestTopOutput(t *testing.T) {
	got := printed(t, func(w *bytes.Buffer) error {
		return printTop(w, []processes{
			{"db", 1, []string{"UID", "PID", "CMD"}, [][]string{{"root", "1", "postgres"}, {"70", "22", "postgres: writer"}}},
			{"web", 2, []string{"PID", "CMD", "TTY"}, [][]string{{"7", "nginx", "?"}}},
		})
	})
	want := "SERVICE  #   UID   PID  CMD               TTY\n" +
		"db       1   root  1    postgres          \n" +
		"db       1   70    22   postgres: writer  \n" +
		"web      2         7    nginx             ?\n"
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestPublishedPort(t *testing.T) {
	web := summaries()[1]
	if got, err := published(web, 80, "tcp"); err != nil || got != "0.0.0.0:8080" {
		t.Errorf("published = %q, %v", got, err)
	}
	_, err := published(web, 81, "tcp")
	if err == nil || err.Error() != "no port 81/tcp for container demo-web-1: it publishes 80/tcp" {
		t.Errorf("error %v", err)
	}
}

func TestEventOutputs(t *testing.T) {
	m := events.Message{Type: "container", Action: "start", TimeNano: now.UnixNano(), Actor: events.Actor{ID: "abc", Attributes: map[string]string{
		project.LabelService: "web", "name": "demo-web-1", "image": "nginx"}}}
	if got := printed(t, func(w *bytes.Buffer) error { return eventsOptions{}.print(w, m) }); got != now.Local().Format("2006-01-02 15:04:05.000000")+" container start abc (image=nginx, name=demo-web-1)\n" {
		t.Errorf("text %q", got)
	}
	var decoded map[string]any
	if err := json.Unmarshal([]byte(printed(t, func(w *bytes.Buffer) error { return eventsOptions{json: true}.print(w, m) })), &decoded); err != nil {
		t.Fatal(err)
	}
	if decoded["service"] != "web" || decoded["action"] != "start" || decoded["id"] != "abc" || len(decoded["attributes"].(map[string]any)) != 2 {
		t.Errorf("JSON %v", decoded)
	}
}
