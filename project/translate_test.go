package project

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// environment of all tests here: what a person has set.
var testEnvironment = []string{"HOME=/home/tester", "OUTSIDE=from outside"}

func load(t *testing.T, file string, edit ...func(*Options)) (*Project, []Warning) {
	t.Helper()
	opts := Options{Files: []string{file}, Environment: testEnvironment}
	for _, e := range edit {
		e(&opts)
	}
	p, warnings, err := Load(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p, warnings
}

// Each file in testdata/translate becomes the Project beside it, and that
// Project is the same after a journey as JSON.
func TestTranslationGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/translate/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no input: %v", err)
	}
	t.Setenv("HOME", "/home/tester") // compose-go asks the process for ~
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			p, warnings := load(t, file)
			if len(warnings) > 0 {
				t.Errorf("warnings: %v", warnings)
			}
			compareGolden(t, strings.TrimSuffix(file, ".yaml")+".golden.json", readableJSON(t, p))

			data, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			var back Project
			if err := json.Unmarshal(data, &back); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(*p, back) {
				t.Errorf("changed by a journey as JSON:\n%s", cmp.Diff(*p, back, cmp.Exporter(func(reflect.Type) bool { return true })))
			}
			if err := back.Check(); err != nil {
				t.Errorf("the receiver's check: %v", err)
			}
		})
	}
}

func compareGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs; look at it, then run with -update (-want +got):\n%s", file, diff)
	}
}

// readableJSON is the project's JSON without zero values, positions and hashes,
// and without this machine's path.
func readableJSON(t *testing.T, p *Project) []byte {
	t.Helper()
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.Abs("testdata/translate")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(bytes.ReplaceAll(data, []byte(dir), []byte("DIR")), &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(prune(v), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(out, '\n')
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if k == "positions" || k == "source" || k == "hash" || k == LabelHash {
				continue
			}
			if k == "Tmpfs" { // "" is a value there
				out[k] = e
				continue
			}
			if e = prune(e); e != nil {
				out[k] = e
			}
		}
		if len(v) > 0 && len(out) == 0 {
			return nil
		}
		if out["Tmpfs"] == nil {
			delete(out, "Tmpfs")
		}
		return out
	case []any:
		for i, e := range v {
			if e = prune(e); e == nil {
				e = map[string]any{}
			}
			v[i] = e
		}
		return v
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}
