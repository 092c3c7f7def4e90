package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"gantry/engine"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/api/types/registry"
)

// create makes an image: of an archive, or of what a registry has.
func (i imageRoutes) create(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Query().Get("fromSrc") != "" {
		return i.importArchive(w, r)
	}
	return i.pull(w, r)
}

// pull answers with the engine's progress. An error before there is any has a
// status of its own; a later one is the stream's last line.
func (i imageRoutes) pull(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	ref, err := pullReference(q.Get("fromImage"), q.Get("tag"))
	if err != nil {
		return err
	}
	auth, err := registryAuth(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return err
	}
	ctx, cancel := streaming(r)
	defer cancel()
	refs := []string{ref.String()}
	if reference.IsNameOnly(ref) {
		if refs, err = i.RepositoryTags(ctx, ref.String(), auth); err != nil {
			return err
		}
	}
	out := newOutbox(w, types.MediaTypeJSON)
	defer out.close()
	status := "Image is up to date for "
	for _, one := range refs {
		newer, err := i.pullOne(ctx, one, q.Get("platform"), auth, out)
		if err != nil {
			return out.fail(err)
		}
		if newer {
			status = "Downloaded newer image for "
		}
	}
	out.put(jsonstream.Message{Status: "Status: " + status + reference.FamiliarString(ref)})
	return nil
}

// pullOne tells whether the name stands for another image now.
func (i imageRoutes) pullOne(ctx context.Context, name, platform string, auth engine.Auth, out *outbox) (newer bool, err error) {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return false, badRequest("image %q: %w", name, err)
	}
	before, _ := i.InspectImage(ctx, name, engine.ImageInspectOptions{Platform: platform}) // may well not exist
	announce := sync.OnceFunc(func() {
		out.put(jsonstream.Message{Status: "Pulling from " + reference.Path(ref), ID: tagOf(ref)})
	})
	err = i.PullImage(ctx, name, platform, auth, func(p engine.Progress) {
		announce()
		if p.ID != reference.FamiliarString(ref) { // of layers; the whole has its lines here
			out.progress(p)
		}
	})
	if err != nil {
		return false, err
	}
	after, err := i.InspectImage(ctx, name, engine.ImageInspectOptions{Platform: platform})
	if err != nil { // one that runs there, too: linux/arm/v7 for linux/arm64
		after, err = i.InspectImage(ctx, name, engine.ImageInspectOptions{})
	}
	if errdefs.IsNotFound(err) { // removed again meanwhile
		announce()
		return true, nil
	}
	if err != nil {
		return false, err
	}
	announce()
	if after.Descriptor != nil {
		out.put(jsonstream.Message{Status: "Digest: " + after.Descriptor.Digest.String()})
	}
	return after.ID != before.ID, nil
}

// pullReference is what is asked for: without tag and digest, all tags.
func pullReference(from, tag string) (reference.Named, error) {
	if from == "" {
		return nil, badRequest("parameter \"fromImage\": name the image to pull")
	}
	ref, err := reference.ParseNormalizedNamed(from)
	if err != nil {
		return nil, badRequest("image %q: %w", from, err)
	}
	if _, pinned := ref.(reference.Digested); tag == "" || pinned {
		return ref, nil
	}
	separator := ":"
	if strings.Contains(tag, ":") { // a digest
		separator = "@"
	}
	full := reference.TrimNamed(ref).String() + separator + tag
	if ref, err = reference.ParseNormalizedNamed(full); err != nil {
		return nil, badRequest("image %q: %w", full, err)
	}
	return ref, nil
}

func tagOf(ref reference.Named) string {
	if d, ok := ref.(reference.Digested); ok {
		return d.Digest().String()
	}
	if t, ok := ref.(reference.Tagged); ok {
		return t.Tag()
	}
	return ""
}

// registryAuth decodes the X-Registry-Auth header: JSON in URL-safe base64.
// The header of an anonymous pull is empty or {}.
func registryAuth(header string) (engine.Auth, error) {
	if header == "" {
		return engine.Auth{}, nil
	}
	var c registry.AuthConfig
	b, err := base64.URLEncoding.DecodeString(header)
	if err != nil {
		b, err = base64.RawURLEncoding.DecodeString(header)
	}
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return engine.Auth{}, badRequest("header %s cannot be read: %w", registry.AuthHeader, err)
	}
	return authOf(c), nil
}

func authOf(c registry.AuthConfig) engine.Auth {
	if c.Username == "" && c.Auth != "" {
		if userPassword, err := base64.StdEncoding.DecodeString(c.Auth); err == nil {
			c.Username, c.Password, _ = strings.Cut(string(userPassword), ":")
		}
	}
	return engine.Auth{Username: c.Username, Password: c.Password, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}
}
