package project

import (
	"testing"

	"github.com/containerd/errdefs"
)

// One bad line of a service each; compose-go finds most of them and does not
// say where.
func TestBadValuesArePlaced(t *testing.T) {
	for line, want := range map[string]string{
		`mem_limit: abc`:                             `compose.yaml:4:5: services.web.mem_limit: invalid size: 'abc'`,
		`healthcheck: {interval: 5x}`:                `compose.yaml:4:19: services.web.healthcheck.interval: time: unknown unit "x" in duration "5x"`,
		`extra_hosts: [x]`:                           `compose.yaml:4:5: services.web.extra_hosts: invalid additional host, missing IP: x`,
		`ports: [80, "1-3:1-2"]`:                     `compose.yaml:4:17: invalid ranges specified for container and host Ports: 1-2 and 1-3`,
		`ports: ["1.2.3:80:80"]`:                     `compose.yaml:4:13: invalid IP address: 1.2.3`,
		`ports: [80, {target: 1, host_ip: 9.9.9}]`:   `compose.yaml:4:17: services.web.ports.[]: invalid ip address: 9.9.9`,
		`ports: [{target: 0}]`:                       `compose.yaml:4:13: service "web": port 0 is not between 1 and 65535`,
		`volumes: ["aa:/b:ro:d"]`:                    `compose.yaml:4:15: invalid spec: aa:/b:ro:d: too many colons`,
		`volumes: [{type: bind, target: /x}]`:        `compose.yaml:4:15: invalid mount config for type "bind": field Source must not be empty`,
		`devices: [/dev/a, "a:b:c:d"]`:               `compose.yaml:4:23: confusing device mapping, please use long syntax: a:b:c:d`,
		`command: "a 'b"`:                            `compose.yaml:4:5: services.web.command: invalid command line string`,
		`depends_on: {a: {condition: foo}}`:          `compose.yaml:4:22: services.web.depends_on.a.condition value must be one of 'service_started', 'service_healthy', 'service_completed_successfully'`,
		`init: maybe`:                                `compose.yaml:4:5: error while interpolating services.web.init: failed to cast to expected type: invalid boolean: maybe`,
		`extends: nobody`:                            `compose.yaml:2:3: cannot extend service "web" in compose.yaml: service "nobody" not found`,
		`secrets: [{source: a, target: b, mode: x}]`: `compose.yaml:4:38: services.web.secrets.0.mode: strconv.ParseInt: parsing "x": invalid syntax`,
		`scale: -1`:                                  `compose.yaml:4:5: service "web": scale must not be negative`,
		`platform: x y`:                              `compose.yaml:4:5: service "web": platform "x y" is not OS/ARCHITECTURE such as linux/amd64`,
		`restart: always:3`:                          `compose.yaml:4:5: service "web": restart "always:3": only on-failure takes a number of attempts`,
		`security_opt: ["seccomp=gone.json"]`:        `compose.yaml:4:20: service "web": cannot use seccomp profile "gone.json": no such file or directory`,
		`networks: {default: {mac_address: 1:2}}`:    `compose.yaml:4:26: service "web": "1:2" is not a MAC address such as 02:42:ac:11:00:02`,
	} {
		t.Run(line, func(t *testing.T) {
			dir := write(t, "-- compose.yaml --\nservices:\n  web:\n    image: x\n    "+line+"\n")
			_, _, err := tryLoad(dir, Options{})
			checkError(t, dir, err, errdefs.ErrInvalidArgument, want)
		})
	}
}

func TestBadFilesArePlaced(t *testing.T) {
	for content, want := range map[string]string{
		"":                                "compose.yaml: empty compose file",
		"- a\n":                           "compose.yaml: top-level object must be a mapping",
		"services: {'a b': {image: x}}\n": `compose.yaml:1:12: services.a b: unknown key; check its spelling and its place`,
		"services: {a: }\n":               `compose.yaml:1:12: services.a must be a mapping`,
		"secrets: {a: {}}\nservices: {a: {image: x, secrets: [a]}}\n":                  `compose.yaml:1:11: secrets.a: one of file|environment must be set`,
		"networks: {a: {external: true, internal: true}}\nservices: {a: {image: x}}\n": `compose.yaml:1:12: network "a" is external; it takes no key but name`,
		"include: [compose.yaml]\nservices: {a: {image: x}}\n":                         `compose.yaml:1:1: include cycle detected: compose.yaml include compose.yaml`,
	} {
		t.Run(content, func(t *testing.T) {
			dir := write(t, "-- compose.yaml --\n"+content)
			_, _, err := tryLoad(dir, Options{})
			checkError(t, dir, err, errdefs.ErrInvalidArgument, want)
		})
	}
	dir := write(t, "-- compose.yaml --\nservices: {a: {image: x}}\ninclude:\n  - gone.yaml\n")
	_, _, err := tryLoad(dir, Options{})
	checkError(t, dir, err, errdefs.ErrNotFound, `compose.yaml:3:5: cannot read "gone.yaml": no such file or directory`)
}
