package leftover

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestOnlyATaskThatRuncForgotLeavesNothing(t *testing.T) {
	call := "gantry-shim -namespace ns -address a -publish-binary p -id one -bundle b delete"
	for name, c := range map[string]struct {
		call    string
		options string // content of options.json, "" without the file
		state   string // what runc has, below its root
		bundle  string
		want    bool
	}{
		"deleted in good order":       {call, `{"root":"ROOT"}`, "ns/two", "one", true},
		"runc has it":                 {call, `{"root":"ROOT"}`, "ns/one", "one", false},
		"in debug mode":               {strings.Replace(call, " delete", " -debug delete", 1), `{"root":"ROOT"}`, "ns/two", "one", true},
		"another action":              {strings.Replace(call, "delete", "start", 1), `{"root":"ROOT"}`, "ns/two", "one", false},
		"another bundle":              {call, `{"root":"ROOT"}`, "ns/two", "two", false},
		"runc's root is not told":     {call, `{}`, "ns/two", "one", false},
		"no options":                  {call, "", "ns/two", "one", false},
		"options that cannot be read": {call, `{"root":`, "ns/two", "one", false},
		"runc has no such namespace":  {call, `{"root":"ROOT"}`, "other/two", "one", false},
		"no namespace":                {strings.Replace(call, "-namespace ns", "", 1), `{"root":"ROOT"}`, "ns/two", "one", false},
		"no id":                       {strings.Replace(call, "-id one", "", 1), `{"root":"ROOT"}`, "ns/two", "one", false},
		"no arguments":                {"gantry-shim", `{"root":"ROOT"}`, "ns/two", "one", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root, bundle := filepath.Join(dir, "runc"), filepath.Join(dir, c.bundle)
			for _, d := range []string{filepath.Join(root, c.state), bundle} {
				if err := os.MkdirAll(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if c.options != "" {
				options := strings.Replace(c.options, "ROOT", root, 1)
				if err := os.WriteFile(filepath.Join(bundle, "options.json"), []byte(options), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := nothing(strings.Fields(c.call), bundle); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	if nothing(nil, t.TempDir()) {
		t.Error("no arguments at all leave nothing")
	}
}
