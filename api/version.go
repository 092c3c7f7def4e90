package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// apiVersion is a version of the Engine API.
type apiVersion struct{ major, minor int }

// Versions of the Engine API that are served. The newest is that of the types
// in github.com/moby/moby/api.
var (
	newest = apiVersion{1, 56}
	oldest = apiVersion{1, 40}
)

func parseVersion(s string) (apiVersion, bool) {
	major, minor, ok := strings.Cut(s, ".")
	if !ok || len(major) > 3 || len(minor) > 3 {
		return apiVersion{}, false
	}
	ma, err1 := strconv.ParseUint(major, 10, 16)
	mi, err2 := strconv.ParseUint(minor, 10, 16)
	return apiVersion{int(ma), int(mi)}, err1 == nil && err2 == nil
}

func (v apiVersion) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

func (v apiVersion) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

type versionKey struct{}

// versionOf is the version that a request asks for, the newest when it asks
// for none.
func versionOf(r *http.Request) apiVersion {
	if v, ok := r.Context().Value(versionKey{}).(apiVersion); ok {
		return v
	}
	return newest
}

// unversioned takes a leading /v1.NN off the request's path and checks it.
func unversioned(r *http.Request) (*http.Request, error) {
	first, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !ok || !strings.HasPrefix(first, "v") {
		return r, nil
	}
	v, ok := parseVersion(first[1:])
	if !ok {
		return r, nil
	}
	if !v.atLeast(oldest.major, oldest.minor) {
		return r, badRequest("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", v, oldest)
	}
	if v != newest && v.atLeast(newest.major, newest.minor) {
		return r, badRequest("client version %s is too new. Maximum supported API version is %s", v, newest)
	}
	r = r.WithContext(context.WithValue(r.Context(), versionKey{}, v))
	u := *r.URL
	u.Path = "/" + rest
	u.RawPath = strings.TrimPrefix(u.RawPath, "/"+first)
	r.URL = &u
	return r, nil
}
