package build

import (
	"testing"

	"pgregory.net/rapid"
)

// However large the disk is, the cache leaves a fifth of it free, unless all
// that it holds is its small share.
func TestDefaultRulesFitTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := rapid.Int64Range(1<<20, 1<<50).Draw(t, "disk")
		rules := defaultRules(disk)
		last := rules[len(rules)-1]
		if !last.All || last.Unused != 0 || len(last.Filters) > 0 {
			t.Errorf("the last rule spares something: %+v", last)
		}
		for i, r := range rules {
			if r.MaxUsedSpace <= 0 || r.MaxUsedSpace < r.ReservedSpace || r.ReservedSpace > disk/10 || r.MaxUsedSpace > disk*8/10 {
				t.Errorf("rule %d: %+v", i, r)
			}
		}
		if last.MinFreeSpace < disk/100*20 || last.ReservedSpace > 10e9 || last.MaxUsedSpace > 100e9 {
			t.Errorf("the last rule: %+v", last)
		}
	})
}
