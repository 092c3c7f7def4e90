package project

import (
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/mount"
)

// Where Docker Compose puts the daemon's socket and the user's credentials.
const (
	socketTarget      = "/var/run/docker.sock"
	credentialsTarget = "/run/secrets/docker"
)

// apiSocket gives a service the daemon's socket and, unless it says where its
// own are, the user's credentials for registries. Source: compose
// specification, use_api_socket.
func (t *translator) apiSocket(s types.ServiceConfig, out *Service) {
	if !s.UseAPISocket {
		return
	}
	out.HostConfig.Mounts = append(out.HostConfig.Mounts, mount.Mount{
		Type: mount.TypeBind, Source: first(t.in.apiSocket, socketTarget), Target: socketTarget, BindOptions: &mount.BindOptions{},
	})
	if _, given := s.Environment["DOCKER_CONFIG"]; given || t.in.registryConfig == nil {
		return
	}
	content, err := t.in.registryConfig()
	if err != nil {
		t.problem(s, []string{"use_api_socket"}, "the credentials for registries cannot be read: %s", err)
	}
	if len(content) == 0 {
		return
	}
	out.Config.Env = append(out.Config.Env, "DOCKER_CONFIG="+credentialsTarget)
	out.Files = append(out.Files, File{
		Kind: "config", Name: "credentials for registries", Target: credentialsTarget + "/config.json", Mode: 0o600, Content: content,
	})
}
