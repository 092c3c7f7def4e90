package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gantry/project"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

func TestOverlay(t *testing.T) {
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	service := func() *project.Service {
		return &project.Service{
			Config: container.Config{Entrypoint: []string{"/entry"}, Cmd: []string{"serve"}, Env: []string{"A=1", "B=2"}, User: "app", Labels: map[string]string{"l": "1"}},
			HostConfig: container.HostConfig{CapDrop: []string{"NET_RAW"}, CapAdd: []string{"SYS_TIME"},
				Mounts: []mount.Mount{{Type: mount.TypeVolume, Source: "demo_data", Target: "/data"}}},
		}
	}
	for _, test := range []struct {
		name   string
		o      overlay
		change func(*container.Config, *container.HostConfig)
	}{
		{"nothing", overlay{}, func(*container.Config, *container.HostConfig) {}},
		{"command", overlay{command: []string{"sh", "-c", "x"}}, func(c *container.Config, _ *container.HostConfig) { c.Cmd = []string{"sh", "-c", "x"} }},
		{"entrypoint clears the command", overlay{entrypoint: text("tini -- 'a b'")}, func(c *container.Config, _ *container.HostConfig) {
			c.Entrypoint, c.Cmd = []string{"tini", "--", "a b"}, []string{}
		}},
		{"entrypoint and command", overlay{entrypoint: text("sh"), command: []string{"-c", "x"}}, func(c *container.Config, _ *container.HostConfig) {
			c.Entrypoint, c.Cmd = []string{"sh"}, []string{"-c", "x"}
		}},
		{"no entrypoint at all", overlay{entrypoint: text("")}, func(c *container.Config, _ *container.HostConfig) {
			c.Entrypoint, c.Cmd = []string{""}, []string{}
		}},
		{"environment", overlay{env: []string{"A=9", "B", "C=a=b"}}, func(c *container.Config, _ *container.HostConfig) { c.Env = []string{"A=9", "C=a=b"} }},
		{"user, workdir, label, streams", overlay{user: "0:0", workdir: "/w", labels: []string{"l=2", "m"}, tty: true, stdin: true, stdinOnce: true}, func(c *container.Config, _ *container.HostConfig) {
			c.User, c.WorkingDir, c.Labels = "0:0", "/w", map[string]string{"l": "2", "m": ""}
			c.Tty, c.OpenStdin, c.StdinOnce = true, true, true
		}},
		{"capabilities", overlay{capAdd: []string{"NET_RAW"}, capDrop: []string{"SYS_TIME", "KILL"}}, func(_ *container.Config, h *container.HostConfig) {
			h.CapAdd, h.CapDrop = []string{"NET_RAW"}, []string{"SYS_TIME", "KILL"}
		}},
		{"volumes", overlay{volumes: []string{"./x:/data:ro", "named:/n", "/anonymous"}}, func(_ *container.Config, h *container.HostConfig) {
			h.Mounts = []mount.Mount{
				{Type: mount.TypeBind, Source: filepath.Join(cwd, "x"), Target: "/data", ReadOnly: true, BindOptions: &mount.BindOptions{CreateMountpoint: true}},
				{Type: mount.TypeVolume, Source: "named", Target: "/n"},
				{Type: mount.TypeVolume, Target: "/anonymous"},
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := service()
			config, host, err := test.o.apply(s)
			if err != nil {
				t.Fatal(err)
			}
			wantConfig, wantHost := service().Config, service().HostConfig
			test.change(&wantConfig, &wantHost)
			if d := cmp.Diff(&wantConfig, config, cmpopts.EquateComparable(network.Port{})); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(&wantHost, host, cmpopts.EquateComparable(network.Port{}, netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(service(), s, cmpopts.EquateComparable(network.Port{}, netip.Addr{}, netip.Prefix{})); d != "" {
				t.Errorf("the service was changed: %s", d)
			}
		})
	}
	for _, bad := range []overlay{{entrypoint: text("'open")}, {labels: []string{"=x"}}, {volumes: []string{""}}} {
		if _, _, err := bad.apply(service()); exitCode(err) != exitUsage {
			t.Errorf("%+v: error %v", bad, err)
		}
	}
}

func TestParsePublish(t *testing.T) {
	got, err := parsePublish([]string{"8080:80", "127.0.0.1:53:53/udp", "90", "7000-7001:7000-7001"})
	if err != nil {
		t.Fatal(err)
	}
	want := network.PortMap{
		network.MustParsePort("80/tcp"):   {{HostPort: "8080"}},
		network.MustParsePort("53/udp"):   {{HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: "53"}},
		network.MustParsePort("90/tcp"):   {{HostPort: ""}},
		network.MustParsePort("7000/tcp"): {{HostPort: "7000"}},
		network.MustParsePort("7001/tcp"): {{HostPort: "7001"}},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(network.Port{}, netip.Addr{})); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "x", "80:90:100:110", "1.2.3:80:80", "70000"} {
		if _, err := parsePublish([]string{bad}); exitCode(err) != exitUsage {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestParseScale(t *testing.T) {
	got, err := parseScale([]string{"web=3", "db=0"})
	if d := cmp.Diff(map[string]int{"web": 3, "db": 0}, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	for _, bad := range []string{"web", "=3", "web=", "web=-1", "web=many"} {
		if _, err := parseScale([]string{bad}); exitCode(err) != exitUsage {
			t.Errorf("%q: error %v", bad, err)
		}
	}
}

func TestParseInstant(t *testing.T) {
	for in, want := range map[string]time.Time{
		"":                                    {},
		"42m":                                 now.Add(-42 * time.Minute),
		"1h30m10s":                            now.Add(-90*time.Minute - 10*time.Second),
		"2013-01-02T13:23:37Z":                time.Date(2013, 1, 2, 13, 23, 37, 0, time.UTC),
		"2013-01-02T13:23:37.000000001+02:00": time.Date(2013, 1, 2, 11, 23, 37, 1, time.UTC),
		"2013-01-02T13:23:37":                 time.Date(2013, 1, 2, 13, 23, 37, 0, time.Local),
		"2013-01-02T13:23":                    time.Date(2013, 1, 2, 13, 23, 0, 0, time.Local),
		"2013-01-02":                          time.Date(2013, 1, 2, 0, 0, 0, 0, time.Local),
		"1357133017":                          time.Unix(1357133017, 0),
		"1357133017.5":                        time.Unix(1357133017, 500000000),
	} {
		if got, err := parseInstant(in, now); err != nil || !got.Equal(want) {
			t.Errorf("parseInstant(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	if _, err := parseInstant("yesterday", now); err == nil {
		t.Error("yesterday was accepted")
	}
	if got := instant(time.Unix(5, 7)); got != "5.000000007" {
		t.Errorf("instant = %q", got)
	}
}

func TestDaemonHost(t *testing.T) {
	for _, test := range []struct {
		name, flag string
		env        map[string]string
		want       string
	}{
		{"gantry", "", nil, defaultHost},
		{"gantry", "", map[string]string{"DOCKER_HOST": "tcp://d"}, defaultHost},
		{"docker", "", map[string]string{"DOCKER_HOST": "tcp://d"}, "tcp://d"},
		{"docker-compose", "", map[string]string{"DOCKER_HOST": "tcp://d", "GANTRY_HOST": "tcp://g"}, "tcp://g"},
		{"gantry", "unix:///x", map[string]string{"GANTRY_HOST": "tcp://g"}, "unix:///x"},
	} {
		if got := daemonHost(test.name, test.flag, func(k string) string { return test.env[k] }); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
