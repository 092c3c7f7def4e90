package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"syscall"

	"gantry/cmd/gantry/docker"
	"gantry/cmd/gantry/progress"
	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/docker/cli/cli/config"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	"github.com/moby/buildkit/session/filesync"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/moby/buildkit/session/sshforward"
	"github.com/moby/buildkit/session/sshforward/sshprovider"
	"github.com/moby/buildkit/util/staticfs"
	engine "github.com/moby/moby/client"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// sessions are what the builds of a project's images ask for files, secrets and
// credentials: one for all services that build from the same directory with the
// same secrets, so that no directory is sent twice. They are opened when the
// first build begins.
type sessions struct {
	c    *cli
	ids  map[string]string // service to session ID
	held []*held

	ctx    context.Context // ends with the reason when they cannot be opened
	fail   context.CancelCauseFunc
	once   sync.Once
	engine *engine.Client
	wait   sync.WaitGroup
}

// held is one session and what it is for.
type held struct {
	*session.Session
	service string // the first of those that share it
	build   *project.Build
	dirs    map[string]string // the host's directories, by the name that BuildKit asks for
	inline  map[string]string // inline Dockerfiles, likewise
	caches  localCaches
}

// sessions prepares those of a project, and completes the builds in it by what the
// host has now. What uses them runs in their context, and closes them at its end.
func (c *cli) sessions(ctx context.Context, p *project.Project) (*sessions, error) {
	s := &sessions{c: c, ids: map[string]string{}}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	shared := map[string]*held{}
	completed := map[*project.Build]*project.Build{} // services may share one
	for i := range p.Services {
		name, given := p.Services[i].Name, p.Services[i].Build
		if given == nil {
			continue
		}
		build, known := completed[given]
		if !known {
			own := *given
			own.Contexts = maps.Clone(given.Contexts)
			build, completed[given] = &own, &own
		}
		p.Services[i].Build = build
		key, err := json.Marshal([]any{build.Context, build.Secrets, build.SSH})
		if err != nil {
			return nil, err
		}
		h := shared[string(key)]
		if h == nil {
			h = &held{service: name, build: build, dirs: map[string]string{}, inline: map[string]string{}}
			// by this name BuildKit finds what it was sent by earlier sessions
			sum := sha256.Sum256([]byte(build.Context))
			if h.Session, err = session.NewSession(ctx, hex.EncodeToString(sum[:10])); err != nil {
				return nil, err
			}
			shared[string(key)], s.held = h, append(s.held, h)
		}
		s.ids[name] = h.ID()
		if known {
			continue
		}
		h.add(build)
		if err := h.caches.open(build, c.err); err != nil {
			return nil, fmt.Errorf("service %q: %w", name, err)
		}
	}
	return s, nil
}

// add notes the directories of one more build.
func (h *held) add(b *project.Build) {
	if dir := project.Directory(b.Context); dir != "" {
		h.dirs[project.LocalContext] = dir
	}
	if dir := b.DockerfileDir(); dir != "" {
		h.dirs[project.LocalName(dir, "")] = dir
	}
	if b.DockerfileInline != "" {
		h.inline[project.LocalName("", b.DockerfileInline)] = b.DockerfileInline
	}
	for _, from := range b.Contexts {
		if dir := project.Directory(from); dir != "" {
			h.dirs[project.LocalName(dir, "")] = dir
		}
	}
}

// watching opens the sessions when a display is told of the first build.
func (s *sessions) watching(d progress.Display) progress.Display { return &opening{d, s} }

type opening struct {
	progress.Display
	s *sessions
}

func (o *opening) Event(e scheduler.Event) {
	if e.Build != "" && e.Status == scheduler.StatusStarted {
		o.s.once.Do(o.s.open)
	}
	o.Display.Event(e)
}

func (s *sessions) open() {
	api, err := s.c.engine()
	if err != nil {
		s.fail(err)
		return
	}
	s.engine = api
	auth := authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(config.LoadDefaultConfigFile(io.Discard)),
	})
	for _, h := range s.held {
		if err := h.provide(auth, s.fail); err != nil {
			s.fail(fmt.Errorf("service %q: %w", h.service, err))
			return
		}
		s.wait.Go(func() {
			err := h.Run(context.WithoutCancel(s.ctx), func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
				return api.DialHijack(ctx, "/session", proto, meta)
			})
			if err != nil && s.ctx.Err() == nil {
				s.fail(fmt.Errorf("session of the build's context: %w", err))
			}
		})
	}
}

// provide fills a session. fail ends what uses it.
func (h *held) provide(auth session.Attachable, fail func(error)) error {
	dirs := filesync.StaticDirSource{}
	for name, dir := range h.dirs {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return errdefs.ErrNotFound.WithMessage(fmt.Sprintf("build context %q: %v", dir, err))
		}
		files, err := fsutil.NewFS(dir)
		if err == nil { // owners on this host mean nothing in the image
			dirs[name], err = fsutil.NewFilterFS(docker.WholeContext(files, fail), &fsutil.FilterOpt{Map: unowned})
		}
		if err != nil {
			return fmt.Errorf("build context %q: %w", dir, err)
		}
	}
	for name, content := range h.inline {
		file := staticfs.NewFS()
		file.Add("Dockerfile", &types.Stat{Mode: 0o644}, []byte(content))
		dirs[name] = file
	}
	h.Allow(filesync.NewFSSyncProvider(dirs))
	h.Allow(auth)
	if a := h.caches.attachable(); a != nil {
		h.Allow(a)
	}
	if len(h.build.Secrets) > 0 {
		h.Allow(secretsprovider.NewSecretProvider(secretFiles(h.build.Secrets)))
	}
	var agents []sshprovider.AgentConfig
	for _, a := range h.build.SSH {
		agents = append(agents, sshprovider.AgentConfig{ID: a.ID, Paths: a.Paths})
	}
	switch {
	case len(agents) > 0:
	case project.Directory(h.build.Context) == "" && docker.OverSSH(h.build.Context):
		agents = []sshprovider.AgentConfig{{ID: sshforward.DefaultID}}
	default:
		return nil
	}
	ssh, err := sshprovider.NewSSHAgentProvider(agents)
	if err != nil {
		return fmt.Errorf("ssh: %w", err)
	}
	h.Allow(ssh)
	return nil
}

func unowned(_ string, st *types.Stat) fsutil.MapResult {
	st.Uid, st.Gid = 0, 0
	return fsutil.MapResultKeep
}

// secretFiles are the secrets of builds; they are read when one asks.
type secretFiles []project.BuildSecret

func (s secretFiles) GetSecret(_ context.Context, id string) ([]byte, error) {
	for _, secret := range s {
		switch {
		case secret.ID != id:
		case secret.Environment != "":
			return []byte(secret.Value), nil
		default:
			return os.ReadFile(secret.File)
		}
	}
	return nil, fmt.Errorf("secret %q: %w", id, secrets.ErrNotFound)
}

// keepCaches completes the directories that builds have put their results into.
func (s *sessions) keepCaches() error {
	var errs []error
	for _, h := range s.held {
		errs = append(errs, h.caches.name())
	}
	return errors.Join(errs...)
}

// close ends the sessions.
func (s *sessions) close() {
	s.once.Do(func() {}) // none is opened any more
	s.fail(nil)
	for _, h := range s.held {
		h.Close()
	}
	s.wait.Wait()
	if s.engine != nil {
		s.engine.Close()
	}
}
