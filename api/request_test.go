package api

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"
)

func asking(values url.Values) string { return "/?" + values.Encode() }

func TestInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sec, nano := rapid.Int64Range(1, 1<<33).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")
		want := time.Unix(sec, nano)
		for _, s := range []string{fmt.Sprintf("%d.%09d", sec, nano), want.UTC().Format(time.RFC3339Nano)} {
			got, err := instant(httptest.NewRequest("GET", asking(url.Values{"since": {s}}), nil), "since")
			if err != nil || !got.Equal(want) {
				t.Fatalf("%q is %v, %v, want %v", s, got, err, want)
			}
		}
	})
	for s, want := range map[string]time.Time{"": {}, "0": {}, "1.5": time.Unix(1, 5e8), "12": time.Unix(12, 0), "1.1234567891": time.Unix(1, 123456789)} {
		if got, err := instant(httptest.NewRequest("GET", asking(url.Values{"since": {s}}), nil), "since"); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "1.x", "1.-5", "x.1"} {
		if got, err := instant(httptest.NewRequest("GET", asking(url.Values{"since": {s}}), nil), "since"); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
}

func TestFlag(t *testing.T) {
	for s, want := range map[string]bool{"": false, "0": false, "false": false, "No": false, " none ": false, "1": true, "true": true, "True": true, "yes": true} {
		if got := flag(httptest.NewRequest("GET", asking(url.Values{"all": {s}}), nil), "all"); got != want {
			t.Errorf("flag %q is %v", s, got)
		}
	}
}

func TestFilters(t *testing.T) {
	for _, s := range []string{`{"label":{"a=b":true,"a":true},"id":{}}`, `{"label":["a","a=b"],"id":[]}`} {
		f, err := filters(httptest.NewRequest("GET", asking(url.Values{"filters": {s}}), nil))
		if err != nil || len(f) != 1 || !slices.Equal(f["label"], []string{"a", "a=b"}) {
			t.Errorf("%s is %v, %v", s, f, err)
		}
	}
	for _, s := range []string{`label=a`, `{"label":"a"}`, `["a"]`} {
		if f, err := filters(httptest.NewRequest("GET", asking(url.Values{"filters": {s}}), nil)); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s is %v, %v", s, f, err)
		}
	}
}
