package stdio

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"
)

func TestURIRoundTrip(t *testing.T) {
	path := rapid.OneOf(rapid.Just(""), rapid.StringMatching(`/[ -~é]{1,80}`))
	rapid.Check(t, func(t *rapid.T) {
		c := Config{
			Socket: path.Draw(t, "socket"), LogPath: path.Draw(t, "log"),
			MaxSize: rapid.Int64().Draw(t, "size"), MaxFile: rapid.IntRange(0, 1<<40).Draw(t, "files"),
			Terminal: rapid.Bool().Draw(t, "terminal"), CloseStdin: rapid.Bool().Draw(t, "close"), AwaitClient: rapid.Bool().Draw(t, "await"),
			Attrs: rapid.SampledFrom([]map[string]string{nil, {"a": ""}, {"k &=": "v\n%", "": "é"}}).Draw(t, "attrs"),
		}
		if len(c.Socket) > maxSocketPath || strings.HasPrefix(c.Socket, "//") {
			t.Skip("not a socket's path")
		}
		s := c.URI()
		if !IsURI(s) {
			t.Fatalf("%q is not recognized", s)
		}
		got, err := Parse(s)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%q parses as %+v, %v; want %+v", s, got, err, c)
		}
	})
}

// A shim outlives its daemon: a newer one may say what it does not know.
func TestParsePassesOverUnknownKeys(t *testing.T) {
	got, err := Parse("gantry:///x?log=/y&unknown=1")
	if want := (Config{Socket: "/x", LogPath: "/y"}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestParseRejects(t *testing.T) {
	for _, s := range []string{
		"", "/run/x", "fifo:///x", "gantry://host/x", "gantry:opaque", "gantry:///x?max-size=big", "gantry:///x?max-file=-1",
		"gantry:///x?log=relative", "gantry:///x?terminal=perhaps", "gantry:///x?%zz", "gantry:///" + strings.Repeat("x", 107),
	} {
		if c, err := Parse(s); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%q parses as %+v, %v", s, c, err)
		}
	}
}
