package build_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gantry/tests/harness"

	"golang.org/x/crypto/ssh"
)

// sshKey makes a key with a comment and returns its file.
func sshKey(t *testing.T, dir, comment string) string {
	t.Helper()
	file := filepath.Join(dir, comment)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return file
}

// sshAgent runs OpenSSH's agent with a key and returns its socket.
func sshAgent(t *testing.T, dir, key string) (socket string) {
	t.Helper()
	socket = filepath.Join(dir, "agent.sock")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	harness.Eventually(t, "the agent has the key", func() error {
		add := exec.Command("ssh-add", "-q", key)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	return socket
}

// Steps reach the agents and keys that they are given, and those alone.
func TestStepsHaveTheAgentsTheyAreGiven(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	program := exec.Command("go", "build", "-o", filepath.Join(d.Dir, "ctx", "keys"), "./agentkeys")
	program.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	key := sshKey(t, d.Dir, "of-the-agent")
	other := sshKey(t, d.Dir, "of-the-file")
	socket := sshAgent(t, d.Dir, key)
	const dockerfile = "FROM " + image + "\nCOPY keys /\nRUN --mount=type=ssh,uid=7,mode=606 /keys $SSH_AUTH_SOCK; stat -c 'owner %u mode %a' $SSH_AUTH_SOCK; true\nRUN --mount=type=ssh,id=two,target=/two /keys /two\n"
	d.Write("ctx/Dockerfile", dockerfile)
	build := func(args ...string) harness.Result {
		t.Helper()
		cmd := d.DockerCommand(d.Dir, append([]string{"build", "--progress", "plain", "--no-cache"}, args...)...)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
		return d.Finish(cmd)
	}
	r := build("--ssh", "default", "--ssh", "two="+other, "ctx")
	for _, want := range []string{"ssh_agent.0 has of-the-agent", "owner 7 mode 606", "/two has 1 keys"} {
		if r.Code != 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	if r := build("--ssh", "two="+socket, "ctx"); r.Code != 0 || !strings.Contains(r.Stderr, "/two has of-the-agent") || !strings.Contains(r.Stderr, "no such file") {
		t.Errorf("an agent by its socket, and none: %v", r)
	}
	d.Write("required/Dockerfile", "FROM "+image+"\nRUN --mount=type=ssh,required true\n")
	for want, args := range map[string][]string{
		"use --ssh default": {"required"}, "stat /nowhere: no such file": {"--ssh", "default=/nowhere", "ctx"}, "no key found": {"--ssh", "default=ctx/Dockerfile", "ctx"},
	} {
		if r := build(args...); r.Code == 0 || !strings.Contains(r.Stderr, want) {
			t.Errorf("no %q in %v", want, r)
		}
	}
	socket = ""
	if r := build("--ssh", "default", "ctx"); r.Code == 0 || !strings.Contains(r.Stderr, "make sure SSH_AUTH_SOCK is set") {
		t.Errorf("without an agent: %v", r)
	}

	dir := d.Project("ctx", "services:\n  app:\n    image: app\n    build:\n      context: .\n      ssh: [default, two="+other+"]\n")
	compose := func(socket string) harness.Result {
		cmd := d.Command(dir, "build", "--no-cache")
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
		return d.Finish(cmd)
	}
	if r := compose(filepath.Join(d.Dir, "agent.sock")); r.Code != 0 || !strings.Contains(r.Stderr, "has of-the-agent") || !strings.Contains(r.Stderr, "/two has 1 keys") {
		t.Errorf("build.ssh: %v", r)
	}
	if r := compose(""); r.Code == 0 || !strings.Contains(r.Stderr, `service "app"`) || !strings.Contains(r.Stderr, "SSH_AUTH_SOCK") {
		t.Errorf("build.ssh without an agent: %v", r)
	}
	d.MustDocker("image", "rm", "app")
	d.MustDocker("image", "prune", "-f")
}

// sshServer lets a key run git on this host, and nothing else.
func sshServer(t *testing.T, allowed string) (addr string) {
	t.Helper()
	text, err := os.ReadFile(allowed + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(pub.Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveGit(conn, config)
		}
	}()
	return l.Addr().String()
}

func serveGit(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, asked, err := c.Accept()
		if err != nil {
			return
		}
		go func() {
			defer ch.Close()
			for r := range asked {
				var command struct{ Line string }
				if r.Type != "exec" || ssh.Unmarshal(r.Payload, &command) != nil {
					r.Reply(r.Type == "env", nil)
					continue
				}
				r.Reply(true, nil)
				path := strings.Trim(strings.TrimPrefix(command.Line, "git-upload-pack "), "'")
				cmd := exec.Command("git", "upload-pack", path)
				in, _ := cmd.StdinPipe()
				go func() { io.Copy(in, ch); in.Close() }()
				cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
				var status struct{ Code uint32 }
				if cmd.Run() != nil {
					status.Code = 1
				}
				ch.SendRequest("exit-status", false, ssh.Marshal(&status))
				return
			}
		}()
	}
}

// A repository that only a key opens is fetched with the agent of whoever asks
// for the build.
func TestGitContextsOverSSH(t *testing.T) {
	t.Parallel()
	d := daemon(t)
	repository(t, d)
	key := sshKey(t, d.Dir, "mine")
	stranger := sshKey(t, d.Dir, "stranger")
	addr := sshServer(t, key)
	socket := sshAgent(t, d.Dir, key)
	url := "ssh://git@" + addr + d.Dir + "/web/repo.git"
	build := func(socket string, args ...string) harness.Result {
		t.Helper()
		cmd := d.DockerCommand(d.Dir, append([]string{"build", "--progress", "plain", "--no-cache"}, args...)...)
		cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+socket)
		return d.Finish(cmd)
	}
	if r := build(socket, url+"#main"); r.Code != 0 || !strings.Contains(r.Stderr, " . ./Dockerfile \n") {
		t.Errorf("with an agent: %v", r)
	}
	d.Write("adds/Dockerfile", "FROM "+image+"\nADD "+url+"#main /got/\nRUN ls /got\n")
	if r := build("", "--ssh", "default="+key, "adds"); r.Code != 0 || !strings.Contains(r.Stderr, "Dockerfile\n") {
		t.Errorf("ADD with a key: %v", r)
	}
	if r := build("", "--ssh", "default="+stranger, url+"#other"); r.Code == 0 || !strings.Contains(r.Stderr, "Permission denied") {
		t.Errorf("with a key that opens nothing: %v", r)
	}
	dir := d.Project("p", "services:\n  keyed:\n    image: app\n    build:\n      context: "+url+"#main\n      ssh: [default="+key+"]\n  agent:\n    image: app:agent\n    build: "+url+"#v1\n")
	compose := d.Command(dir, "build")
	compose.Env = append(compose.Env, "SSH_AUTH_SOCK="+socket)
	if r := d.Finish(compose); r.Code != 0 {
		t.Errorf("compose: %v", r)
	}
	d.MustDocker("image", "rm", "app", "app:agent")
	d.MustDocker("image", "prune", "-f")
}
