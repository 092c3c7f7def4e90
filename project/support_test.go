package project

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
	"github.com/google/go-cmp/cmp"
)

// go test ./project -run 'Golden|Doc' -update writes what these tests compare.
var update = flag.Bool("update", false, "write golden files and docs/compose-support.md")

// Every key of the specification's schema must have a rule, or stand below one
// that is refused, or without effect, as a whole: nothing may be dropped because nobody thought of
// it.
func TestEveryKeyOfTheSpecificationHasARule(t *testing.T) {
	for _, path := range schema.AttributePaths() {
		n, covered := supportRules, false
		for _, part := range path.Parts() {
			if n.rule != nil && (n.rule.support == refused || n.rule.support == noted) {
				covered = true
				break
			}
			next := n.children[part]
			if next == nil {
				next = n.children["*"]
			}
			if next == nil {
				n = &ruleNode{}
				break
			}
			n = next
		}
		if !covered && n.rule == nil {
			t.Errorf("%s: no rule says whether this key is honoured", path)
		}
	}
}

// A rule for a key that does not exist would be a typing mistake.
func TestEveryRuleIsAboutAKeyOfTheSpecification(t *testing.T) {
	known := map[string]bool{}
	for _, path := range schema.AttributePaths() {
		known[string(path)] = true
	}
	seen := map[string]bool{}
	for _, r := range slices.Concat(serviceRules, otherRules) {
		parent := r.path[:max(strings.LastIndex(r.path, "."), 0)]
		// items of lists, and names that the user's own map has a meaning for
		if !known[r.path] && !strings.HasSuffix(r.path, ".[]") && !known[parent+".*"] {
			t.Errorf("%s is no key of the specification", r.path)
		}
		if seen[r.path] {
			t.Errorf("%s has two rules", r.path)
		}
		seen[r.path] = true
		if (r.support == refused || r.support == noted) && r.note == "" {
			t.Errorf("%s: a key that is not honoured needs a reason", r.path)
		}
	}
}

func TestDocListsEveryRule(t *testing.T) {
	const file = "../docs/compose-support.md"
	want := supportDoc()
	if *update {
		if err := os.MkdirAll("../docs", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is out of date; run go test ./project -run Doc -update (-want +got):\n%s", file, diff)
	}
}

// supportDoc writes docs/compose-support.md from the rules.
func supportDoc() string {
	var b strings.Builder
	b.WriteString(`# Compose keys

<!-- Written by "go test ./project -run Doc -update" from project/support_service.go and project/support_table.go. -->

Gantry honours the keys below as the [compose specification](https://github.com/compose-spec/compose-spec) defines them. A key marked **no** is an error that names file, line and column; ` + "`--ignore-unsupported`" + ` turns it into a warning. Keys that begin with ` + "`x-`" + ` are yours. A key below one that is marked **no** or is without effect is not listed.

`)
	for _, section := range []struct{ title, prefix string }{
		{"Top level", ""},
		{"Services", "services.*."},
		{"Networks", "networks.*."},
		{"Volumes", "volumes.*."},
		{"Configs", "configs.*."},
		{"Secrets", "secrets.*."},
	} {
		fmt.Fprintf(&b, "## %s\n\n| key | honoured | remarks |\n|---|---|---|\n", section.title)
		for _, r := range slices.Concat(serviceRules, otherRules) {
			key, ok := strings.CutPrefix(r.path, section.prefix)
			if section.prefix == "" {
				ok = !strings.Contains(key, "*")
			}
			if !ok || strings.HasSuffix(key, "labels.*") || r.path == "services.*" {
				continue
			}
			state := [...]string{honoured: "yes", accepted: "no effect", noted: "no effect, with a warning", refused: "**no**"}[r.support]
			if r.limit != nil {
				state = "partly"
			}
			key = strings.ReplaceAll(strings.ReplaceAll(key, ".[]", "[]"), "*", "NAME")
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, state, strings.ReplaceAll(r.note, "|", `\|`))
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
