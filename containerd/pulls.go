package containerd

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/hashicorp/go-multierror"
	"github.com/opencontainers/go-digest"
)

// pulls are the downloads under way. Who asks for what another one is getting
// joins in: it comes once, all are told how far it is, and it goes on until the
// last one has gone. The zero value has none.
type pulls struct {
	mu      sync.Mutex
	running map[string]*sharedPull
}

// sharedPull is one download, which ends once:
//
//	running ─▶ ended ─▶ gone    and another one of its key can begin
type sharedPull struct {
	target digest.Digest
	cancel context.CancelFunc
	ended  chan struct{}
	done   func() // lets go of what it got; valid after ended, as err
	err    error
	gone   chan struct{}
	users  int // guarded by pulls

	mu     sync.Mutex
	tells  map[int]report
	joined int
	said   map[string]Progress // the last of each ID
	order  []string
}

// join waits until a download has succeeded, which get begins unless it is under
// way. What it got is kept until leave. For a key there is one at a time: one of
// something else is waited for.
func (p *pulls) join(ctx context.Context, key string, target digest.Digest, tell report, get func(context.Context, report) (done func(), err error)) (leave func(), err error) {
	s, err := p.enter(ctx, key, target, get)
	if err != nil {
		return nil, err
	}
	mute := s.listen(tell)
	leave = func() { p.leave(key, s) }
	select {
	case <-s.ended:
		err = s.err
	case <-ctx.Done():
		err = ctx.Err()
	}
	if mute(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (p *pulls) enter(ctx context.Context, key string, target digest.Digest, get func(context.Context, report) (func(), error)) (*sharedPull, error) {
	for {
		p.mu.Lock()
		s := p.running[key]
		if s == nil {
			s = newSharedPull(ctx, target, get)
			if p.running == nil {
				p.running = map[string]*sharedPull{}
			}
			p.running[key] = s
			p.mu.Unlock()
			return s, nil
		}
		if s.target == target && s.users > 0 && !s.failed() {
			s.users++
			p.mu.Unlock()
			return s, nil
		}
		p.mu.Unlock()
		select {
		case <-s.gone:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for another pull of %q: %w", key, ctx.Err())
		}
	}
}

func (p *pulls) leave(key string, s *sharedPull) {
	p.mu.Lock()
	s.users--
	last := s.users == 0
	p.mu.Unlock()
	if !last {
		return
	}
	s.cancel()
	if <-s.ended; s.err == nil {
		s.done()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, key)
	close(s.gone)
}

// drop deletes the leases of pulls that are not under way, and tells whether
// there were some. None can begin meanwhile.
func (p *pulls) drop(ctx context.Context, all leases.Manager) (dropped bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, err := all.List(ctx)
	if err != nil {
		return false, err
	}
	busy := map[string]bool{}
	for key := range p.running {
		busy[pullLease(key)] = true
	}
	var errs *multierror.Error
	for _, l := range list {
		if !strings.HasPrefix(l.ID, pullLeases) || busy[l.ID] {
			continue
		}
		if err := all.Delete(ctx, l); err != nil && !errdefs.IsNotFound(err) {
			errs = multierror.Append(errs, err)
		}
		dropped = true
	}
	return dropped, errs.ErrorOrNil()
}

func newSharedPull(ctx context.Context, target digest.Digest, get func(context.Context, report) (func(), error)) *sharedPull {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &sharedPull{target: target, cancel: cancel, ended: make(chan struct{}), gone: make(chan struct{}), users: 1, tells: map[int]report{}, said: map[string]Progress{}}
	go func() {
		defer close(s.ended)
		s.done, s.err = get(ctx, s.tell)
	}()
	return s
}

func (s *sharedPull) failed() bool {
	select {
	case <-s.ended:
		return s.err != nil
	default:
		return false
	}
}

func (s *sharedPull) tell(p Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.said[p.ID]; !known {
		s.order = append(s.order, p.ID)
	}
	s.said[p.ID] = p
	for _, tell := range s.tells {
		tell(p)
	}
}

// listen tells what is known and what follows, until mute.
func (s *sharedPull) listen(tell report) (mute func()) {
	if tell == nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.order {
		tell(s.said[id])
	}
	s.joined++
	n := s.joined
	s.tells[n] = tell
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.tells, n)
	}
}
