package engine

import (
	"context"

	ctd "gantry/containerd"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/registry"
)

// Login asks a registry whether it takes credentials. The answer may hold a
// token to be kept in place of the password.
func (e *Engine) Login(ctx context.Context, address string, auth Auth) (registry.AuthResponse, error) {
	token, err := e.rt.Login(ctx, address, ctd.Auth(auth))
	if err != nil {
		return registry.AuthResponse{}, err
	}
	return registry.AuthResponse{Status: "Login Succeeded", IdentityToken: token}, nil
}

// InspectDistribution tells what a registry has under a name.
func (e *Engine) InspectDistribution(ctx context.Context, ref string, auth Auth) (registry.DistributionInspect, error) {
	target, platforms, err := e.rt.InspectRemote(ctx, ref, ctd.Auth(auth))
	if err != nil {
		return registry.DistributionInspect{}, err
	}
	target.Annotations, target.Platform = nil, nil
	return registry.DistributionInspect{Descriptor: target, Platforms: platforms}, nil
}

// Credentials are what a user has for registries, by the registry's name:
// docker.io, reg.example:5000.
type Credentials map[string]Auth

type credentialsKey struct{}

// WithCredentials lends credentials to the pulls that are done on behalf of
// ctx. They are kept nowhere else.
func WithCredentials(ctx context.Context, c Credentials) context.Context {
	return context.WithValue(ctx, credentialsKey{}, c)
}

// credentialsFor are those that ctx was lent for an image's registry.
func credentialsFor(ctx context.Context, ref string) Auth {
	lent, _ := ctx.Value(credentialsKey{}).(Credentials)
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return Auth{}
	}
	return lent[reference.Domain(named)]
}
