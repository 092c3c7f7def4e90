package project

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestReadCache(t *testing.T) {
	ref := func(s string) Cache { return Cache{"registry", map[string]string{"ref": s}} }
	for text, want := range map[string][]Cache{
		"reg/a":                            {ref("reg/a")},
		"reg/a:1,reg/b":                    {ref("reg/a:1"), ref("reg/b")},
		"type=inline":                      {{"inline", map[string]string{}}},
		"TYPE=local,Dest=d":                {{"local", map[string]string{"dest": "d"}}},
		`type=registry,"ref=a,b",mode=max`: {{"registry", map[string]string{"ref": "a,b", "mode": "max"}}},
	} {
		if got, err := ReadCacheTo(text); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"": "EOF", "ref=x": "type required", "type=gha": "not supported", "type=local,src=x": "dest is required", "type=registry": "ref is required",
		"type=registry,ref=x,mode=all": "neither min nor max", "type=registry,ref": "not KEY=VALUE",
	} {
		if got, err := ReadCacheTo(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := ReadCacheFrom("type=inline"); err == nil || !strings.Contains(err.Error(), "as type=registry") {
		t.Errorf("inline: %v", err)
	}
}

// A cache is what its text says, whatever its values hold.
func TestCacheTextIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attrs := rapid.MapOf(rapid.StringMatching(`[a-z][a-z0-9-]*`), rapid.StringMatching(`[ -~]+`)).Draw(t, "attrs")
		delete(attrs, "type")
		delete(attrs, "mode")
		attrs["dest"] = "/d"
		c := Cache{"local", attrs}
		if got, err := ReadCacheTo(c.String()); err != nil || !cmp.Equal(got, []Cache{c}) {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	})
}
