package build

import (
	"context"
	"net/netip"
	"regexp"

	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/builder"
	"github.com/moby/buildkit/frontend/gateway/client"
)

// builtIn is a frontend of Dockerfiles that needs no registry for the
// "# syntax=" line that most of them begin with: it is that frontend.
// gateways are what "host-gateway" stands for.
func builtIn(gateways []netip.Addr) client.BuildFunc {
	return func(ctx context.Context, c client.Client) (*client.Result, error) {
		f := &forwarding{Client: c, options: gatewayHosts(c.BuildOpts().Opts, gateways)}
		if f.options[optTrim] != "" {
			options, inputs, err := trim(ctx, f)
			if err != nil {
				return nil, err
			}
			if options != nil {
				f.options, f.inputs = options, inputs
			}
		}
		return unchecked(dockerfile.Build(ctx, f))
	}
}

// forwarding is a frontend's client that is asked to run another frontend, and
// may have other options and inputs than the build's.
type forwarding struct {
	client.Client
	options map[string]string // in place of the build's; nil for those
	inputs  map[string]llb.State
}

func (f *forwarding) BuildOpts() client.BuildOpts {
	o := f.Client.BuildOpts()
	if f.options != nil {
		o.Opts = f.options
	}
	return o
}

func (f *forwarding) Inputs(ctx context.Context) (map[string]llb.State, error) {
	if f.inputs != nil {
		return f.inputs, nil
	}
	return f.Client.Inputs(ctx)
}

func (f *forwarding) Solve(ctx context.Context, req client.SolveRequest) (*client.Result, error) {
	if req.Frontend == "gateway.v0" && isBuiltIn(req.FrontendOpt["source"]) {
		// with a "cmdline" it does not look for a syntax line again
		return dockerfile.Build(ctx, &forwarding{f.Client, req.FrontendOpt, f.inputs})
	}
	placed(req.Definition)
	res, err := f.Client.Solve(ctx, req)
	return checked(res, f.BuildOpts().Opts), err
}

var releases = regexp.MustCompile(`^(latest|1(\.\d+){0,2})$`)

// isBuiltIn tells whether an image is a release of the frontend that is built
// in: not one with a digest, nor of the "labs" channel.
func isBuiltIn(image string) bool {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil || named.Name() != "docker.io/docker/dockerfile" {
		return false
	}
	if _, pinned := named.(reference.Digested); pinned {
		return false
	}
	tagged, ok := reference.TagNameOnly(named).(reference.Tagged)
	return ok && releases.MatchString(tagged.Tag())
}
