package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gantry/tests/busybox"
	"gantry/tests/harness"
)

// tokens is a token server of which each token opens a registry five times: as many
// requests as begin at once.
type tokens struct {
	mu   sync.Mutex
	made int
	left map[string]int
	why  string // of a refusal, in the challenge
	kept string // the identity token, "" without such
}

func (s *tokens) grant(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	token := fmt.Sprintf("token-%d", s.made)
	s.left[token] = 5
	json.NewEncoder(w).Encode(map[string]any{"token": token, "access_token": token, "refresh_token": s.kept, "expires_in": 3600})
}

func (s *tokens) knows(r *http.Request) bool {
	if r.Method == http.MethodGet {
		user, password, _ := r.BasicAuth()
		return user == "user" && password == "secret"
	}
	if s.kept != "" { // the password is not kept beside it
		return r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == s.kept
	}
	return r.FormValue("username") == "user" && r.FormValue("password") == "secret"
}

func (s *tokens) answers(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path == "/token" {
		if !s.knows(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}
		s.grant(w)
		return true
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	s.left[token]--
	ok := s.left[token] >= 0
	s.mu.Unlock()
	if ok {
		return false
	}
	challenge := `Bearer realm="http://` + r.Host + `/token",service="test",scope="repository:app:pull,push"`
	if token != "" {
		challenge += s.why
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// Tokens that expire in the middle of a pull or a push are renewed, with a
// password or an identity token, whether or not the registry says that this is
// what is wrong with them.
func TestTokensThatExpire(t *testing.T) {
	t.Parallel()
	d := start(t)
	addr := harness.Registry(t, "", "")
	harness.Push(t, addr+"/app:1", nil, busybox.Layer(busybox.File{Path: "/a", Body: noise(1000)}), busybox.Layer(busybox.File{Path: "/b", Body: noise(2000)}), layered())
	for kept, why := range map[string]string{"": "", "identity": `,error="invalid_token"`} {
		s := &tokens{left: map[string]int{}, why: why, kept: kept}
		front := before(t, addr, s.answers)
		if r := d.DockerInput("secret", "login", "-u", "user", "--password-stdin", front); r.Code != 0 {
			t.Fatalf("login: %v", r)
		}
		d.MustDocker("pull", front+"/app:1")
		if s.made < 2 {
			t.Errorf("%q: the pull took %d tokens", why, s.made)
		}
		pulled := s.made
		d.MustDocker("save", "-o", d.Dir+"/image.tar", front+"/app:1")
		d.MustDocker("rmi", front+"/app:1")
		d.MustDocker("load", "-q", "-i", d.Dir+"/image.tar") // from no registry
		d.MustDocker("tag", front+"/app:1", front+"/new"+fmt.Sprint(len(why))+":1")
		d.MustDocker("push", "-q", front+"/new"+fmt.Sprint(len(why))+":1")
		if s.made < pulled+2 {
			t.Errorf("%q: the push took %d tokens", why, s.made-pulled)
		}
		d.MustDocker("rmi", front+"/app:1", front+"/new"+fmt.Sprint(len(why))+":1")
	}
}

// A token server that dies while a layer is sent ends the push, which does not
// wait for what nobody takes.
func TestPushWithoutATokenServer(t *testing.T) {
	t.Parallel()
	d := start(t, `"max-download-attempts": 1`)
	addr := harness.Registry(t, "", "")
	var dead atomic.Bool
	front := before(t, addr, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/token" && dead.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/token":
			fmt.Fprint(w, `{"token": "good", "access_token": "good", "expires_in": 3600}`)
		case r.Method == http.MethodPut || r.Header.Get("Authorization") == "":
			dead.Store(r.Method == http.MethodPut || dead.Load())
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token",service="test",scope="repository:app:pull,push"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			return false
		}
		return true
	})
	d.Busybox("big", layered())
	d.MustDocker("tag", "big", front+"/app:1")
	has(t, d.FailDocker("push", front+"/app:1").Stderr, front, "503 Service Unavailable")
	d.MustDocker("rmi", front+"/app:1", "big")
}
