package progress

import "testing"

func TestBrief(t *testing.T) {
	const id = "0ade02711e9173003d177bb5957884e369ce8a5c7e49917828ad82d8aa0f4c1a"
	for text, want := range map[string]string{
		`start container a-web-1: start container "a-web-1": task of container "` + id + `": failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "nosuch": executable file not found in $PATH`: `start container a-web-1: exec: "nosuch": executable file not found in $PATH`,
		`exec in container "a": starting process "` + id + `" in container "` + id + `": OCI runtime exec failed: exec failed: unable to start container process: exec: "x": not found`:                                                                        `exec in container "a": exec: "x": not found`,
		"container " + id + " is gone\nlast: last line":                                                                                  "container 0ade02711e91 is gone\nlast: last line",
		`wait container a-web-1 running: service "web": container "a-web-1": it exited with code 3`:                                      `service "web": container "a-web-1": it exited with code 3`,
		`x.yaml:2:7: service "a": image "r:5/pg:1" is not here and cannot be pulled: image "r:5/pg:1": registry "r:5" has no such image`: `x.yaml:2:7: service "a": image "r:5/pg:1" is not here and cannot be pulled: registry "r:5" has no such image`,
		"/cache/" + id + "/compose.yaml:6:1: no":                                                                                         "/cache/" + id + "/compose.yaml:6:1: no",
		"web: db: not there":                                                                                                             "web: db: not there",
		"sha256:" + id[:63] + "!":                                                                                                        "sha256:" + id[:63] + "!",
	} {
		if got := Brief(text); got != want {
			t.Errorf("%q\nbecomes %q\nwant    %q", text, got, want)
		}
	}
}
