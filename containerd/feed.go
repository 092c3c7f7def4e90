package containerd

import (
	"context"
	"sync"
)

// feed is a queue without a bound and with one reader: what is put in before
// anybody reads is not lost, and the writer never waits.
type feed[T any] struct {
	mu    sync.Mutex
	items []T
	wake  chan struct{}
}

func newFeed[T any]() *feed[T] { return &feed[T]{wake: make(chan struct{}, 1)} }

func (f *feed[T]) put(v T) {
	f.mu.Lock()
	f.items = append(f.items, v)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// drop takes out the first item, which has been delivered.
func (f *feed[T]) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.items = f.items[1:]; len(f.items) == 0 {
		f.items = nil
	}
}

func (f *feed[T]) first() (v T, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.items) == 0 {
		return v, false
	}
	return f.items[0], true
}

// read delivers the items until ctx ends, then closes the channel. What was
// not delivered stays for the next reader.
func (f *feed[T]) read(ctx context.Context) <-chan T {
	ch := make(chan T)
	go func() {
		defer close(ch)
		for {
			v, ok := f.first()
			if !ok {
				select {
				case <-f.wake:
					continue
				case <-ctx.Done():
					return
				}
			}
			select {
			case ch <- v:
				f.drop()
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch
}
