package daemon

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestBuildCacheLimits(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                        "[] nil",
		`{"gc": {"enabled": true}}`: "[] nil",
		`{"gc": {"enabled": false, "defaultKeepStorage": "1GB"}}`: "[]",
		`{"gc": {"defaultKeepStorage": "20GB"}}`:                  "[{All:true Unused:0s Filters:[] ReservedSpace:0 MaxUsedSpace:21474836480 MinFreeSpace:0}]",
		`{"gc": {"policy": [{"keepStorage": "1kB", "filter": ["unused-for=2h"]}, {"all": true, "reservedSpace": "2kB", "minFreeSpace": "3kB"}]}}`: "[{All:false Unused:2h0m0s Filters:[] ReservedSpace:0 MaxUsedSpace:1024 MinFreeSpace:0} {All:true Unused:0s Filters:[] ReservedSpace:2048 MaxUsedSpace:0 MinFreeSpace:3072}]",
		`{"gc": {"defaultKeepStorage": "much"}}`:          "error",
		`{"gc": {"policy": [{"filter": ["color=red"]}]}}`: "error",
	} {
		var b Builder
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Fatal(err)
		}
		rules, err := b.rules()
		got := fmt.Sprintf("%+v", rules)
		if rules == nil {
			got += " nil"
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
