package registry_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// answering is a registry that says one thing.
func answering(t *testing.T, status int, header http.Header, body string) string {
	t.Helper()
	return serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
}

func serving(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// Pulls and pushes that a registry refuses say what it said, in the words that
// people and programs know from Docker.
func TestErrorsNameTheRegistrysAnswer(t *testing.T) {
	t.Parallel()
	d := start(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead.Close()
	body := func(code, message string) string {
		return fmt.Sprintf(`{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
	basic := http.Header{"Www-Authenticate": {`Basic realm="test"`}}
	for name, c := range map[string]struct {
		addr       string
		pull, push []string
	}{
		"unknown": {
			answering(t, http.StatusNotFound, nil, body("MANIFEST_UNKNOWN", "manifest unknown")),
			[]string{"manifest for ADDR/app:1 not found: manifest unknown"}, []string{"ADDR", "404"},
		},
		"not logged in": {
			answering(t, http.StatusUnauthorized, basic, body("UNAUTHORIZED", "authentication required")),
			[]string{"pull access denied for ADDR/app, repository does not exist or may require 'docker login'"},
			[]string{"push access denied for ADDR/app, repository does not exist or may require 'docker login'"},
		},
		"forbidden": {
			answering(t, http.StatusForbidden, nil, body("DENIED", "requested access to the resource is denied")),
			[]string{"pull access denied for ADDR/app", "denied: requested access to the resource is denied"},
			[]string{"push access denied for ADDR/app", "denied: requested access to the resource is denied"},
		},
		"rate limit": {
			answering(t, http.StatusTooManyRequests, nil, body("TOOMANYREQUESTS", "You have reached your pull rate limit.")),
			[]string{"ADDR", "toomanyrequests: You have reached your pull rate limit."}, []string{"ADDR", "toomanyrequests: You have reached"},
		},
		"fault": {
			answering(t, http.StatusInternalServerError, nil, ""),
			[]string{"ADDR", "500 Internal Server Error"}, []string{"ADDR", "500 Internal Server Error"},
		},
		"nobody": {
			dead.Addr().String(),
			[]string{`registry "ADDR" cannot be reached`, "connection refused"}, []string{`registry "ADDR" cannot be reached`, "connection refused"},
		},
		"no such host": {
			"registry.invalid:5000",
			[]string{`registry "ADDR" cannot be found`}, []string{`registry "ADDR" cannot be found`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d.MustDocker("tag", image, c.addr+"/app:1")
			for verb, parts := range map[string][]string{"pull": c.pull, "push": c.push} {
				for i := range parts {
					parts[i] = strings.ReplaceAll(parts[i], "ADDR", c.addr)
				}
				r := d.FailDocker(verb, c.addr+"/app:1")
				has(t, r.Stderr, parts...)
			}
		})
	}
}

// A token server stands between the registry and its users.
func TestLoginAtATokenServer(t *testing.T) {
	t.Parallel()
	d := start(t)
	mux := http.NewServeMux()
	addr := serving(t, mux)
	mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "user" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}`)
			return
		}
		answer := map[string]string{"token": "good"}
		if r.FormValue("offline_token") != "" {
			answer["refresh_token"] = "kept"
		}
		json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != "kept" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"access_token": "good"})
	})
	mux.HandleFunc("/v2/", func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer good":
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+addr+`/token",service="test"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/v2/":
			w.WriteHeader(http.StatusNotFound)
		}
	})
	r := d.DockerInput("wrong", "login", "-u", "user", "--password-stdin", addr)
	if r.Code == 0 {
		t.Errorf("a wrong password is taken")
	}
	has(t, r.Stderr, "unauthorized: incorrect username or password")
	if r := d.DockerInput("secret", "login", "-u", "user", "--password-stdin", addr); r.Code != 0 {
		t.Fatalf("login: %v", r)
	}
	config := read(t, d.Dir+"/docker-config/config.json")
	has(t, config, addr, `"identitytoken": "kept"`)
	if strings.Contains(config, "secret") {
		t.Error("the password is kept beside the token")
	}
	// The token that was kept opens the registry.
	has(t, d.FailDocker("pull", addr+"/app:1").Stderr, "manifest unknown")
	d.MustDocker("logout", addr)
	has(t, d.FailDocker("pull", addr+"/app:1").Stderr, "pull access denied")
}

func TestSearch(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/search" || r.FormValue("q") != "team/web" || r.FormValue("n") != "7" {
			t.Errorf("asked for %s", r.URL)
		}
		fmt.Fprint(w, `{"num_results":3,"query":"team/web","results":[
			{"name":"web","description":"the one","star_count":9,"is_official":true},
			{"name":"x/web","description":"a copy","star_count":5},
			{"name":"y/web","description":"nobody's","star_count":0}]}`)
	}))
	out := d.MustDocker("search", "--limit", "7", "--format", "{{.Name}} {{.StarCount}} {{.IsOfficial}}", addr+"/team/web")
	if out != "web 9 [OK]\nx/web 5 \ny/web 0 \n" {
		t.Errorf("found %q", out)
	}
	out = d.MustDocker("search", "--limit", "7", "--filter", "stars=3", "--filter", "is-official=false", "--format", "{{.Name}}", addr+"/team/web")
	if out != "x/web\n" {
		t.Errorf("filtered %q", out)
	}
	without := answering(t, http.StatusNotFound, nil, "")
	has(t, d.FailDocker("search", without+"/web").Stderr, `registry "`+without+`" has no search`)
	has(t, d.FailDocker("search", "--limit", "101", addr+"/web").Stderr, "101")
}
