package api

import "testing"

func TestRemoteContexts(t *testing.T) {
	for context, want := range map[string]bool{
		"http://host/x.tar": true, "HTTPS://host/x.git#main:dir": true, "git://host/x": true, "ssh://git@host/x.git": true, "git@host:x.git": true, "me@host:x.git#main": true, "github.com/a/b": true,
		"file:///etc": false, "unix:///run/x": false, "/etc": false, "./x": false, "x": false, "host/a@b:c": false, "ext::sh -c x": false, "": false,
	} {
		if got := isRemote(context); got != want {
			t.Errorf("%q: %v", context, got)
		}
	}
}
