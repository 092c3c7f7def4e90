package engine

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"gantry/build"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config/types"
	"github.com/moby/moby/api/types/registry"
)

// ClassicBuild is a build that POST /build asked for.
type ClassicBuild struct {
	ClassicOptions
	ID   string    // by which it can be cancelled, "" for none
	Body io.Reader // the context, an archive or a Dockerfile, unless Context or Session has it
	// Uploaded says that the context comes with another request: see
	// UploadContext.
	Uploaded    bool
	Credentials map[string]registry.AuthConfig // by the registry's address
	// Log gets what the classic builder would print, Trace BuildKit's progress.
	// Either may be nil.
	Log   func(text string)
	Trace func(progress []byte) // a StatusResponse in protobuf
}

// ClassicOptions say what to build, and BuildFailure how it failed.
type (
	ClassicOptions = build.Classic
	BuildFailure   = build.ClassicError
)

// uploadPatience is how long the request that brings a context and the one that
// asks for the build wait for each other.
const uploadPatience = 30 * time.Second

// classicJobs are the builds that clients have given an ID.
type classicJobs struct {
	mu   sync.Mutex
	jobs map[string]*classicJob
}

type classicJob struct {
	users   int
	cancels []context.CancelFunc
	upload  chan upload
}

// upload is a context that is being sent: used is closed when it was read.
type upload struct {
	body io.Reader
	used chan struct{}
}

// join takes part in a build; it is forgotten when nobody does any more.
func (c *classicJobs) join(id string, cancel context.CancelFunc) (j *classicJob, leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.jobs == nil {
		c.jobs = map[string]*classicJob{}
	}
	if j = c.jobs[id]; j == nil {
		j = &classicJob{upload: make(chan upload)}
		c.jobs[id] = j
	}
	j.users++
	j.cancels = append(j.cancels, cancel)
	return j, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if j.users--; j.users == 0 {
			delete(c.jobs, id)
		}
	}
}

// CancelBuild ends a build. It is no error when there is none.
func (e *Engine) CancelBuild(id string) {
	e.classic.mu.Lock()
	defer e.classic.mu.Unlock()
	if j := e.classic.jobs[id]; j != nil {
		for _, cancel := range j.cancels {
			cancel()
		}
	}
}

// UploadContext brings the context of a build that another request asks for,
// and returns when it was read.
func (e *Engine) UploadContext(ctx context.Context, id string, body io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j, leave := e.classic.join(id, cancel)
	defer leave()
	up := upload{body, make(chan struct{})}
	select {
	case j.upload <- up:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(uploadPatience):
		return fmt.Errorf("nobody asked for build %q, whose context this is, within %s: %w", id, uploadPatience, errdefs.ErrUnavailable)
	}
	select {
	case <-up.used:
	case <-ctx.Done():
	}
	return context.Cause(ctx)
}

// BuildClassic builds an image and returns its ID, "" if the result went
// elsewhere.
func (e *Engine) BuildClassic(ctx context.Context, o ClassicBuild) (imageID string, err error) {
	b, err := e.builder()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, done, err := e.classicContext(ctx, &o, cancel)
	if err != nil {
		return "", err
	}
	defer done()
	if body != nil {
		url, withdraw, err := b.SendContext(body)
		if err != nil {
			return "", err
		}
		defer withdraw()
		o.Context = url
	}
	if o.Session == "" {
		auths := map[string]types.AuthConfig{}
		for address, a := range o.Credentials {
			auths[address] = types.AuthConfig(a)
		}
		id, end, err := b.LendCredentials(ctx, auths)
		if err != nil {
			return "", err
		}
		defer end()
		o.Session = id
	}
	digest, err := b.RunClassic(ctx, o.ClassicOptions, o.Log, o.Trace)
	if err != nil || digest == "" {
		return "", err
	}
	img, err := e.rt.Image(ctx, digest)
	if errdefs.IsNotFound(err) { // it went to a registry or a file
		return digest, nil
	}
	if err != nil {
		return "", err
	}
	return img.ID, nil
}

// classicContext is the body of this request or of another one, nil for none.
func (e *Engine) classicContext(ctx context.Context, o *ClassicBuild, cancel context.CancelFunc) (body io.Reader, done func(), err error) {
	body, done = o.Body, func() {}
	if o.ID == "" {
		return body, done, nil
	}
	j, leave := e.classic.join(o.ID, cancel)
	if !o.Uploaded {
		return body, leave, nil
	}
	select {
	case up := <-j.upload:
		return up.body, func() { close(up.used); leave() }, nil
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(uploadPatience):
		err = fmt.Errorf("the context of build %q did not come within %s: %w", o.ID, uploadPatience, errdefs.ErrUnavailable)
	}
	leave()
	return nil, nil, err
}
