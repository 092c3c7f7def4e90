package engine

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	ctd "gantry/containerd"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

func TestConflictingOptions(t *testing.T) {
	port := network.MustParsePort("80/tcp")
	mac := []attachment{{Network: "x", Settings: network.EndpointSettings{MacAddress: network.HardwareAddr{2, 0, 0, 0, 0, 1}}}}
	for name, c := range map[string]struct {
		cfg  container.Config
		host container.HostConfig
		nets []attachment
		says string
	}{
		"nothing":                 {container.Config{}, container.HostConfig{}, nil, ""},
		"hostname":                {container.Config{Hostname: "x"}, container.HostConfig{NetworkMode: "host"}, nil, ""},
		"an address":              {container.Config{}, container.HostConfig{NetworkMode: "bridge"}, mac, ""},
		"hostname and UTS":        {container.Config{Hostname: "x"}, container.HostConfig{UTSMode: "host"}, nil, "hostname and the UTS mode"},
		"hostname and network":    {container.Config{Hostname: "x"}, container.HostConfig{NetworkMode: "container:y"}, nil, "hostname and the network mode"},
		"exposed and network":     {container.Config{ExposedPorts: network.PortSet{port: {}}}, container.HostConfig{NetworkMode: "container:y"}, nil, "port exposing"},
		"published and network":   {container.Config{}, container.HostConfig{NetworkMode: "container:y", PublishAllPorts: true}, nil, "port publishing and the container type network mode"},
		"links and host":          {container.Config{}, container.HostConfig{NetworkMode: "host", Links: []string{"db"}}, nil, "host type networking can't be used with links"},
		"address and host":        {container.Config{}, container.HostConfig{NetworkMode: "host"}, mac, "mac-address and the network mode"},
		"address and no network":  {container.Config{}, container.HostConfig{NetworkMode: "none"}, mac, "mac-address and the network mode"},
		"container without name":  {container.Config{}, container.HostConfig{NetworkMode: "container:"}, nil, "container:<name|id>"},
		"policy":                  {container.Config{}, container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "x"}}, nil, "unknown policy 'x'"},
		"retries without failure": {container.Config{}, container.HostConfig{RestartPolicy: container.RestartPolicy{Name: "always", MaximumRetryCount: 1}}, nil, "on-failure"},
	} {
		err := checkConflicts(&c.cfg, &c.host, c.nets)
		if c.says == "" && err != nil || c.says != "" && (!errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: got %v, want %q", name, err, c.says)
		}
	}
}

// docker run pulls an image when it is told "not found": nothing else may be.
func TestOnlyAMissingImageIsNotFound(t *testing.T) {
	for _, err := range []error{noImage("busybox"), fmt.Errorf("more: %w", noImage("sha256:1234")), missingPlatform{"busybox", "linux/amd64"}} {
		if !errdefs.IsNotFound(refusal(err)) {
			t.Errorf("%v is not told as not found", err)
		}
	}
	if got := noImage("busybox").Error(); got != "No such image: busybox:latest" {
		t.Errorf("it says %q", got)
	}
	for _, err := range []error{fmt.Errorf("No such container: x: %w", errdefs.ErrNotFound), noImage(""), noImage("Busy Box")} {
		if got := refusal(err); !errdefs.IsInvalidArgument(got) || errdefs.IsNotFound(got) {
			t.Errorf("%v became %v", err, got)
		}
	}
	if err := errors.New("disk"); refusal(err) != err {
		t.Error("another error changes")
	}
}

func TestPlatformOfTheImage(t *testing.T) {
	own := platforms.DefaultSpec()
	mine, other := &ctd.Image{OS: own.OS, Architecture: own.Architecture}, &ctd.Image{OS: "linux", Architecture: "s390x"}
	both := *mine
	both.Platforms = []*ctd.Image{mine, other}
	for name, c := range map[string]struct {
		img     *ctd.Image
		asked   string
		warns   bool
		refused bool
	}{
		"own":              {mine, "", false, false},
		"own, asked for":   {mine, platforms.Format(own), false, false},
		"other":            {other, "", true, false},
		"other for own":    {other, platforms.Format(own), false, true},
		"other, asked for": {other, "linux/s390x", false, false},
		"it does not say":  {&ctd.Image{}, platforms.Format(own), false, false},
		"both":             {&both, "", false, false},
		"other of both":    {&both, "linux/s390x", false, false},
		"a third":          {&both, "linux/riscv64", false, true},
	} {
		img, err := runnable(c.img, "x", c.asked)
		var warnings []string
		if err == nil {
			warnings = foreignPlatform(img, c.asked)
			if is := img.Platform().Architecture; c.asked == "linux/s390x" && is != "s390x" {
				t.Errorf("%s: got the image for %s", name, is)
			}
		}
		if len(warnings) > 0 != c.warns || errdefs.IsNotFound(err) != c.refused || err != nil && !c.refused {
			t.Errorf("%s: %q, %v", name, warnings, err)
		}
	}
}

func TestExitCodesOfWhatCannotStart(t *testing.T) {
	for text, want := range map[string][2]int{
		`exec: "x": executable file not found in $PATH`: {127, 127},
		"stat /x: no such file or directory":            {127, 127},
		"exec: permission denied":                       {126, 126},
		"mount: not a directory":                        {127, 127},
		"exec: is a directory":                          {126, 126},
		"cgroup: device busy":                           {128, 126},
	} {
		err := errors.New(text)
		if got := [2]int{startFailure(err), execFailure(err)}; got != want {
			t.Errorf("%s: codes %v, want %v", text, got, want)
		}
		if told := unrunnable(err); errdefs.IsInvalidArgument(told) != (want[0] != 128) || !strings.HasPrefix(told.Error(), text) {
			t.Errorf("%s is told as %v", text, told)
		}
	}
	if unrunnable(nil) != nil {
		t.Error("success became an error")
	}
}
