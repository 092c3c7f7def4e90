package main

import (
	"testing"

	"gantry/scheduler"
)

// What up has not touched is named after what it has, each once.
func TestUpNamesWhatRunsAlready(t *testing.T) {
	for _, test := range []struct {
		flags []string
		want  string
	}{
		{[]string{"-d"}, " Container demo-web-1  Started\n Container demo-db-1  Running\n"},
		{[]string{"-d", "db"}, " Container demo-web-1  Started\n Container demo-db-1  Running\n"},
		{[]string{"-d", "web"}, " Container demo-web-1  Started\n Container demo-db-1  Running\n"},
		{[]string{"-d", "--no-deps", "web"}, " Container demo-web-1  Started\n"},
		{[]string{"-d", "--progress", "quiet"}, ""},
	} {
		d := newFakeDaemon(t)
		d.start("db")
		d.up = func(emit func(scheduler.Event)) error {
			d.start("web")
			emit(started("web"))
			return nil
		}
		code, out, errs := upAttached(t, d, test.flags...)
		if code != 0 || out != "" || errs != test.want {
			t.Errorf("%v: exit code %d, output %q, errors %q", test.flags, code, out, errs)
		}
	}
}
