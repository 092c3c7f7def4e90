package main

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"gantry/containerd/stdio"
)

// settleTimeout bounds the wait for a process's output to end after the process
// has: a child in the background may hold it open for ever.
const settleTimeout = time.Second

// key names a process: exec is "" for a container's own.
type key struct{ container, exec string }

// process is what the shim keeps of a process besides what containerd does.
type process struct {
	hub      *stdio.Hub // nil when its streams are not ours
	terminal bool

	stdin, stdout, stderr string // as the daemon asked for them

	handle *os.Process // of a container's own process: a pidfd, safe from reuse
	paused atomic.Bool

	settle  sync.Once
	settled chan struct{} // its exit is recorded, its log complete
}

func (p *process) setSettled() { p.settle.Do(func() { close(p.settled) }) }

// awaitSettled waits until everything about the exit is on disk.
func (p *process) awaitSettled(done <-chan struct{}) {
	t := time.NewTimer(2 * settleTimeout)
	defer t.Stop()
	select {
	case <-p.settled:
	case <-done:
	case <-t.C:
	}
}

// patience is how long the process's output may still take to end.
func (p *process) patience() time.Duration {
	select {
	case <-p.settled: // it has had its time, or ended before
		return 50 * time.Millisecond
	default:
		return settleTimeout
	}
}

// awaitDrained waits until the log holds all output, within the bound.
func (p *process) awaitDrained() (ok bool) {
	if p.hub == nil {
		return true
	}
	t := time.NewTimer(p.patience())
	defer t.Stop()
	select {
	case <-p.hub.Drained():
		return true
	case <-t.C:
		return false
	}
}

// processes are all that the shim runs.
type processes struct {
	mu sync.Mutex
	m  map[key]*process
}

func newProcesses() *processes { return &processes{m: map[key]*process{}} }

func (ps *processes) get(k key) *process {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return ps.m[k]
}

// add reports false if there is a process of that name.
func (ps *processes) add(k key, p *process) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.m[k] != nil {
		return false
	}
	ps.m[k] = p
	return true
}

func (ps *processes) remove(k key) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.m, k)
}

// empty tells whether the shim runs nothing.
func (ps *processes) empty() bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return len(ps.m) == 0
}
