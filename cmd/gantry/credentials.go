package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"gantry/api/client"

	"github.com/distribution/reference"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	"github.com/moby/moby/api/types/registry"
)

// hubKey is under which config.json has Docker Hub.
const hubKey = "https://index.docker.io/v1/"

// dockerConfig is the user's config.json. One that cannot be read is warned of,
// as the docker command line does.
func (c *cli) dockerConfig() *configfile.ConfigFile {
	dir := firstOf(c.getenv("DOCKER_CONFIG"), config.Dir())
	file, err := config.Load(dir)
	if err != nil {
		fmt.Fprintf(c.err, "warning: %v\n", err)
		return configfile.New("")
	}
	return file
}

// registryConfig is a config.json with all of the user's credentials, nil when
// there are none.
func (c *cli) registryConfig() ([]byte, error) {
	all, err := c.dockerConfig().GetAllCredentials()
	if err != nil || len(all) == 0 {
		return nil, err
	}
	var out bytes.Buffer
	err = (&configfile.ConfigFile{AuthConfigs: all}).SaveToWriter(&out)
	return out.Bytes(), err
}

// credentials are the user's for the registries of a project's images, for the
// verbs that pull them.
func (c *cli) credentials(ctx context.Context, t target, v client.Verb) map[string]registry.AuthConfig {
	switch v {
	case client.VerbUp, client.VerbCreate, client.VerbPull, client.VerbRun:
	default:
		return nil
	}
	if t.definition == nil {
		return nil
	}
	var refs []string
	for i := range t.definition.Services {
		refs = append(refs, t.definition.Services[i].Image)
	}
	return credentialsOf(ctx, c.dockerConfig(), refs, c.err)
}

// After helperWait a person is told that a credential helper is waited for, and
// after helperTime it is not any more: it may ask the user something.
const (
	helperWait = 3 * time.Second
	helperTime = 5 * time.Minute
)

// lookUp is GetAuthConfig, whose helper may hang, for the domain of a registry.
func lookUp(ctx context.Context, file *configfile.ConfigFile, key string, warn io.Writer) (types.AuthConfig, error) {
	if key == "docker.io" {
		key = hubKey
	}
	ctx, cancel := context.WithTimeoutCause(ctx, helperTime, fmt.Errorf("the credential helper did not answer in %s", helperTime))
	defer cancel()
	type answer struct {
		auth types.AuthConfig
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		auth, err := file.GetAuthConfig(key)
		answers <- answer{auth, err}
	}()
	slow := time.NewTimer(helperWait)
	defer slow.Stop()
	for {
		select {
		case a := <-answers:
			return a.auth, a.err
		case <-slow.C:
			fmt.Fprintf(warn, "waiting for the credential helper, for registry %q\n", key)
		case <-ctx.Done():
			return types.AuthConfig{}, context.Cause(ctx)
		}
	}
}

// credentialsOf looks the registries of images up, each once: a credential
// helper is a program, and may be slow.
func credentialsOf(ctx context.Context, file *configfile.ConfigFile, refs []string, warn io.Writer) map[string]registry.AuthConfig {
	var out map[string]registry.AuthConfig
	asked := map[string]bool{}
	for _, ref := range refs {
		named, err := reference.ParseNormalizedNamed(ref)
		if err != nil || asked[reference.Domain(named)] {
			continue // the planner tells of bad references
		}
		domain := reference.Domain(named)
		asked[domain] = true
		got, err := lookUp(ctx, file, domain, warn)
		if ctx.Err() != nil {
			return out
		}
		if err != nil {
			fmt.Fprintf(warn, "warning: credentials for registry %q: %v\n", domain, err)
			continue
		}
		if got.Username == "" && got.IdentityToken == "" && got.RegistryToken == "" && got.Auth == "" {
			continue
		}
		if out == nil {
			out = map[string]registry.AuthConfig{}
		}
		out[domain] = registry.AuthConfig{
			Username: got.Username, Password: got.Password, Auth: got.Auth, ServerAddress: got.ServerAddress,
			IdentityToken: got.IdentityToken, RegistryToken: got.RegistryToken,
		}
	}
	return out
}

// registryCredentials are the user's for the registry of compose files.
func (c *cli) registryCredentials(ctx context.Context, domain string) (types.AuthConfig, error) {
	return lookUp(ctx, c.dockerConfig(), domain, c.err)
}
