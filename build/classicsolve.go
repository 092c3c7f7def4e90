package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"gantry/build/sent"

	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/types"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"google.golang.org/protobuf/proto"
)

// statusEnd is how long the last of a build's progress may take after its end.
const statusEnd = 5 * time.Second

// Run carries a request out: its session is one that a client keeps. status
// gets the progress, in order, and none after the return. The end of ctx ends
// the build. It returns what exporters say.
func (b *Builder) Run(ctx context.Context, req *controlapi.SolveRequest, status func(*controlapi.StatusResponse)) (map[string]string, error) {
	if req.Ref == "" {
		req.Ref = identity.NewID()
	}
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	told := make(chan error, 1)
	go func() { told <- b.follow(sctx, req.Ref, status) }()
	resp, err := b.client.ControlClient().Solve(ctx, req)
	var serr error
	select {
	case serr = <-told:
	case <-time.After(statusEnd):
		cancel()
		<-told
	}
	if err != nil {
		return nil, err
	}
	if serr != nil {
		return nil, fmt.Errorf("progress of the build: %w", serr)
	}
	return resp.ExporterResponse, nil
}

func (b *Builder) follow(ctx context.Context, ref string, status func(*controlapi.StatusResponse)) error {
	stream, err := b.client.ControlClient().Status(ctx, &controlapi.StatusRequest{Ref: ref})
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		status(resp)
	}
}

// SendContext makes what a client sends, an archive or a Dockerfile, a
// context: its URL is for one build, until withdrawn.
func (b *Builder) SendContext(r io.Reader) (url string, withdraw func(), err error) {
	c, err := sent.Look(r)
	if err != nil {
		return "", nil, err
	}
	url, withdraw = b.contexts.offer(c)
	return url, withdraw, nil
}

// LendCredentials opens a session that answers registries' questions with a
// client's credentials, by address as config.json has them, until ended.
func (b *Builder) LendCredentials(ctx context.Context, auths map[string]types.AuthConfig) (id string, end func() error, err error) {
	s, err := session.NewSession(ctx, "")
	if err != nil {
		return "", nil, err
	}
	file := configfile.New("")
	if auths != nil {
		file.AuthConfigs = auths
	}
	s.Allow(authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{AuthConfigProvider: authprovider.LoadAuthConfig(file)}))
	go s.Run(context.WithoutCancel(ctx), func(ctx context.Context, _ string, meta map[string][]string) (net.Conn, error) {
		here, there := net.Pipe()
		go b.ServeSession(context.WithoutCancel(ctx), there, meta)
		return here, nil
	})
	return s.ID(), s.Close, nil
}

// RunClassic builds what c says. log gets the classic builder's output, trace
// BuildKit's own progress, each a StatusResponse in protobuf; either may be nil. It returns the image's digest, ""
// if none was made.
func (b *Builder) RunClassic(ctx context.Context, c Classic, log func(string), trace func([]byte)) (digest string, err error) {
	req, err := c.request()
	if err != nil {
		return "", err
	}
	var lines *ClassicLog
	if log != nil {
		req.FrontendAttrs[optTrim] = "true"
		lines = NewClassicLog(log)
	}
	out, err := b.Run(ctx, req, func(s *controlapi.StatusResponse) {
		if data, err := proto.Marshal(s); err == nil && trace != nil {
			trace(data)
		}
		if lines != nil {
			lines.Add(client.NewSolveStatus(s))
		}
	})
	if lines != nil {
		lines.Close()
		err = classicError(err)
	}
	return out[exptypes.ExporterImageDigestKey], err
}
