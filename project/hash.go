package project

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
)

// digest hashes the JSON form, in which maps are sorted.
func digest(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		// only for types that JSON cannot express, which these are not
		data = []byte(err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// hash covers what makes a running container out of date: not replicas,
// depends_on, pull policy, profiles, the project's labels, nor the
// content of files: a hash in a label must not tell of secrets.
func (s *Service) hash() string {
	config := s.Config
	config.Labels = userLabels(s.Config.Labels)
	type attachment struct {
		Network, Name string
		Aliases       []string
		Settings      network.EndpointSettings
	}
	var networks []attachment
	for _, a := range s.Networks {
		networks = append(networks, attachment{a.Network, a.Name, a.Aliases, a.Settings})
	}
	return digest(struct {
		ContainerName, Image, Platform string
		Config                         container.Config
		HostConfig                     container.HostConfig
		Networks                       []attachment
		Files                          []File `json:",omitempty"`
		PostStart, PreStop             []Hook `json:",omitempty"`
	}{s.ContainerName, s.Image, s.Platform, config, s.HostConfig, networks, withheld(s.Files), s.PostStart, s.PreStop})
}

// networkHash covers a network's definition, and is the one that Docker Compose
// makes of it: neither takes the network of the other for one that has changed.
// Source: Docker Compose, hash.go.
func networkHash(n types.NetworkConfig) string { return digest(n) }

// volumeHash is the same for a volume: for Docker Compose, one that has changed
// is one to ask about whether its data may go.
func volumeHash(v types.VolumeConfig) string {
	v.Driver = first(v.Driver, localDriver)
	return digest(v)
}

func userLabels(labels map[string]string) map[string]string {
	user := maps.Clone(labels)
	maps.DeleteFunc(user, func(k, _ string) bool { return strings.HasPrefix(k, "com.docker.compose.") })
	return user
}
