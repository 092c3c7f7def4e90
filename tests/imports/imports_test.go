// Package imports holds the architecture's direction of imports as a test.
package imports

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed lists, for each folder, the folders of ours that it may import;
// packages below a folder belong to it.
var allowed = map[string][]string{
	"project":         {},
	"scheduler":       {"project"},
	"containerd":      {},
	"network":         {},
	"volumes":         {},
	"build":           {},
	"engine":          {"containerd", "network", "volumes", "build", "scheduler", "project"},
	"api":             {"api/client", "engine", "scheduler", "project"},
	"api/client":      {"scheduler", "project"},
	"daemon":          {"api", "engine", "containerd", "network", "volumes", "scheduler", "project"},
	"cmd/gantry":      {"*"},
	"cmd/gantry-shim": {"containerd/stdio", "containerd/jsonlog"},
	"examples":        {},
	"tests":           {"*"},
}

// exclusive lists modules that only some folders may import.
var exclusive = map[string][]string{
	"github.com/containerd/containerd/v2": {"containerd", "build", "cmd/gantry-shim", "tests"},
	"github.com/moby/buildkit":            {"build", "cmd/gantry", "tests"},
	"github.com/vishvananda/netlink":      {"network", "tests"},
	"github.com/google/nftables":          {"network", "tests"},
	"github.com/miekg/dns":                {"network", "tests"},
	"github.com/compose-spec/compose-go":  {"project", "cmd/gantry", "tests"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestPackagesImportOnlyDownwards(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "gantry/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		seen++
		from := folder(strings.TrimPrefix(p.ImportPath, "gantry/"))
		if from == "" {
			t.Errorf("%s lies in no known folder", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			if to, ours := strings.CutPrefix(imp, "gantry/"); ours {
				if !may(from, to) {
					t.Errorf("%s imports %s", p.ImportPath, imp)
				}
				continue
			}
			for module, folders := range exclusive {
				if strings.HasPrefix(imp, module) && !slices.Contains(folders, from) && !slices.Contains(folders, top(from)) {
					t.Errorf("%s imports %s, which only %v may", p.ImportPath, imp, folders)
				}
			}
		}
	}
	if seen < 10 {
		t.Fatalf("only %d packages were looked at", seen)
	}
}

// folder finds the longest known folder that a package lies in.
func folder(path string) string {
	best := ""
	for f := range allowed {
		if (path == f || strings.HasPrefix(path, f+"/")) && len(f) > len(best) {
			best = f
		}
	}
	return best
}

func top(path string) string {
	first, _, _ := strings.Cut(path, "/")
	return first
}

func may(from, to string) bool {
	if folder(to) == from {
		return true
	}
	for _, a := range allowed[from] {
		if a == "*" || to == a || strings.HasPrefix(to, a+"/") {
			return true
		}
	}
	return false
}
