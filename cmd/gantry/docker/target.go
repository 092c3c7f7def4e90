package docker

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/cli/cli/flags"
	"github.com/docker/cli/opts"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

// Target is the daemon that a command line is about.
type Target struct {
	Host    string // URL; of a context it is known once contexts can be read
	Context string // name of the docker context that was asked for
	Ours    bool   // it is this program's own daemon: its API version is known
}

// chooseTarget says where the daemon is: --host or --context, GANTRY_HOST,
// DOCKER_HOST, DOCKER_CONTEXT, this host's daemon. The context that the user
// has chosen for another engine does not count.
func chooseTarget(host, context, fallback string, getenv func(string) string) Target {
	gantryHost, dockerHost, dockerContext := getenv("GANTRY_HOST"), getenv(engine.EnvOverrideHost), getenv(command.EnvOverrideContext)
	if context != "" { // the default context is the environment's host
		dockerContext = ""
	}
	switch {
	case host != "":
		return Target{Host: host, Ours: host == fallback}
	case context != "" && context != command.DefaultContextName:
		return Target{Context: context}
	case gantryHost != "":
		return Target{Host: gantryHost, Ours: true}
	case dockerHost != "":
		return Target{Host: dockerHost, Ours: dockerHost == fallback}
	case dockerContext != "" && dockerContext != command.DefaultContextName:
		return Target{Context: dockerContext}
	}
	return Target{Host: fallback, Ours: true}
}

// resolve chooses the target, own if that is not empty, and makes the docker
// CLI use it.
func (f *Front) resolve(o *flags.ClientOptions, own string, tlsVerify bool) (Target, error) {
	t := Target{Host: own, Ours: true}
	if own == "" {
		if o.Context != "" && len(o.Hosts) > 0 {
			return t, errors.New("conflicting options: cannot specify both --host and --context")
		}
		t = chooseTarget(append(o.Hosts, "")[0], o.Context, f.DefaultHost, f.Getenv)
	}
	if t.Context != "" {
		o.Context = t.Context
		return t, nil
	}
	if t.Ours {
		o.TLS, o.TLSVerify = false, false // DOCKER_TLS_VERIFY is about another engine
	} else {
		parsed, err := opts.ParseHost(o.TLS || o.TLSVerify || tlsVerify, t.Host)
		if err != nil {
			return t, err
		}
		t.Host = parsed
	}
	o.Hosts, o.Context = []string{t.Host}, ""
	return t, nil
}

// connect gives the docker CLI its client. Another engine than ours is spoken
// to as the docker CLI does it; a unix socket may be ours all the same, under
// another name.
func (f *Front) connect() error {
	dial := engine.WithDialContext(func(ctx context.Context, _, _ string) (net.Conn, error) { return f.Dial(ctx) })
	switch {
	case f.target.Context != "":
		meta, err := f.cli.ContextStore().GetMetadata(f.target.Context)
		if err != nil {
			return err
		}
		endpoint, err := docker.EndpointFromContext(meta)
		f.target.Host = endpoint.Host
		return err
	case f.target.Ours:
		api, err := newClient(f.target.Host, "gantry/"+f.Version, f.cli.ConfigFile().HTTPHeaders, dial)
		if err != nil {
			return err
		}
		return command.WithAPIClient(api)(f.cli)
	case strings.HasPrefix(f.target.Host, "unix://"):
		return command.WithAPIClientOptions(dial)(f.cli)
	}
	return nil
}

func (f *Front) contextNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	names, _ := store.Names(f.cli.ContextStore()) // completion has nowhere to tell errors
	return names, cobra.ShellCompDirectiveNoFileComp
}

// client is that of our own daemon: its version and kind are known, so no
// request is spent on asking for them.
type client struct{ *engine.Client }

var _ engine.APIClient = client{}

func newClient(host, agent string, headers map[string]string, dial engine.Opt) (engine.APIClient, error) {
	c, err := engine.New(engine.WithHost(host), dial, engine.WithAPIVersion(engine.MaxAPIVersion), engine.WithAPIVersionFromEnv(),
		engine.WithHTTPHeaders(headers), engine.WithUserAgent(agent))
	if err != nil {
		return nil, err
	}
	return client{c}, nil
}

// Ping answers without the daemon: what "docker run" asks for on its way.
func (client) Ping(context.Context, engine.PingOptions) (engine.PingResult, error) {
	return engine.PingResult{APIVersion: engine.MaxAPIVersion, OSType: "linux"}, nil
}
