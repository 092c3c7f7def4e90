package harness

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gantry/tests/busybox"

	"golang.org/x/crypto/bcrypt"
)

// Registry runs Debian's docker-registry on a loopback port and returns its
// address. A user makes it ask for a login.
func Registry(t testing.TB, user, password string) string {
	t.Helper()
	return RegistryIn(t, t.TempDir(), user, password)
}

// RegistryIn is Registry with a directory for all that it keeps.
func RegistryIn(t testing.TB, dir, user, password string) string {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	addr := l.Addr().String()
	must(l.Close())
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), addr)
	if user != "" {
		hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
		must(err)
		passwords := filepath.Join(dir, "htpasswd")
		must(os.WriteFile(passwords, []byte(user+":"+string(hash)+"\n"), 0o600))
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", passwords)
	}
	file := filepath.Join(dir, "config.yml")
	must(os.WriteFile(file, []byte(config), 0o600))
	cmd := exec.Command("docker-registry", "serve", file)
	log, err := os.Create(filepath.Join(dir, "log"))
	must(err)
	cmd.Stdout, cmd.Stderr = log, log
	must(cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		log.Close()
	})
	Eventually(t, "the registry listens", func() error {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	})
	return addr
}

// Push puts a busybox image into a registry, with skopeo's further arguments.
func Push(t testing.TB, to string, args []string, opts ...busybox.Option) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(file)
	if err == nil {
		if err = busybox.Archive(f, "image", opts...); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("skopeo", append([]string{"copy", "--insecure-policy", "--dest-tls-verify=false", "oci-archive:" + file, "docker://" + to}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("skopeo: %v: %s", err, out)
	}
}
