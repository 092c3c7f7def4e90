package daemon

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// docs/daemon-json.md tells of each key that there is, and of no other.
func TestEveryKeyIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/daemon-json.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	var keys []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		key, ok := f.Tag.Lookup("json")
		if !ok {
			continue
		}
		keys = append(keys, key)
		if !regexp.MustCompile("`" + key + "`").MatchString(doc) {
			t.Errorf("nothing is said of %s", key)
		}
	}
	row := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	for _, names := range row.FindAllStringSubmatch(doc, -1) {
		for _, name := range regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(names[1], -1) {
			if !slices.Contains(keys, name[1]) {
				t.Errorf("%s is no key", name[1])
			}
		}
	}
}
