package main

import "testing"

func TestSplitPlace(t *testing.T) {
	for s, want := range map[string][2]string{
		"web:/a/b":   {"web", "/a/b"},
		"web:rel":    {"web", "rel"},
		"web:/a:b":   {"web", "/a:b"},
		"web:":       {"web", ""},
		"file":       {"", "file"},
		"/abs:colon": {"", "/abs:colon"},
		"./f:colon":  {"", "./f:colon"},
		"../f:colon": {"", "../f:colon"},
		"-":          {"", "-"},
	} {
		if service, path := splitPlace(s); service != want[0] || path != want[1] {
			t.Errorf("%q: %q %q", s, service, path)
		}
	}
}
