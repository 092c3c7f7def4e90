// Package imports holds the architecture's direction of imports as a test.
package imports

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
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

// exceptions are packages of those modules that others may import, too.
var exceptions = map[string][]string{
	// BuildKit's sessions carry a client's caches in containerd's terms
	"cmd/gantry": {"github.com/containerd/containerd/v2/core/content", "github.com/containerd/containerd/v2/core/images", "github.com/containerd/containerd/v2/plugins/content/local"},
}

const root = "../.."

func TestPackagesImportOnlyDownwards(t *testing.T) {
	seen := 0
	for file, imports := range sources(t) {
		seen++
		path := filepath.ToSlash(filepath.Dir(file))
		from := folder(path)
		if from == "" {
			t.Errorf("%s lies in no known folder", file)
			continue
		}
		for _, imp := range imports {
			if to, ours := strings.CutPrefix(imp, "gantry/"); ours {
				if !may(from, to) {
					t.Errorf("%s imports %s", file, imp)
				}
				continue
			}
			for module, folders := range exclusive {
				if strings.HasPrefix(imp, module) && !slices.Contains(folders, from) && !slices.Contains(folders, top(from)) && !slices.Contains(exceptions[from], imp) {
					t.Errorf("%s imports %s, which only %v may", file, imp, folders)
				}
			}
		}
	}
	if seen < 100 {
		t.Fatalf("only %d files were looked at", seen)
	}
}

// sources lists what each file of the tree imports, those of tests left out. It
// reads them itself: a result is not taken from go's cache when one has changed.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		name := e.Name()
		switch {
		case err != nil:
			return err
		case e.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "third_party"):
			return filepath.SkipDir
		case e.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		out[rel] = nil
		for _, i := range file.Imports {
			imp, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			out[rel] = append(out[rel], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
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
