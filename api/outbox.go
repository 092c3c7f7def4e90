package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

const (
	outboxCrowded = 256              // more lines than this wait: what may be dropped is
	outboxEnd     = 10 * time.Second // how long a client may take for the last lines
)

// outbox sends JSON lines to a client and never makes their sender wait for it:
// work goes on while a client's terminal is stopped. Every line leaves at once
// when the client reads. The response begins with the first line; until then an
// error can still be answered with a status of its own.
type outbox struct {
	control   *http.ResponseController
	w         http.ResponseWriter
	mediaType string

	mu     sync.Mutex
	lines  [][]byte
	filled *sync.Cond
	closed bool
	done   chan struct{} // closed when the last line has been sent or given up; nil before the first
}

func newOutbox(w http.ResponseWriter, mediaType string) *outbox {
	o := &outbox{control: http.NewResponseController(w), w: w, mediaType: mediaType}
	o.filled = sync.NewCond(&o.mu)
	return o
}

// put queues a line that the client must get.
func (o *outbox) put(v any) { o.add(v, false) }

// hint queues a line that matters only while it is fresh.
func (o *outbox) hint(v any) { o.add(v, true) }

func (o *outbox) add(v any, droppable bool) {
	line, err := json.Marshal(v)
	if err != nil {
		return // our own types marshal
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || droppable && len(o.lines) > outboxCrowded {
		return
	}
	o.lines = append(o.lines, append(line, '\n'))
	if o.done == nil {
		o.w.Header().Set("Content-Type", o.mediaType)
		o.done = make(chan struct{})
		go o.deliver()
	}
	o.filled.Signal()
}

// begun tells whether the response has begun.
func (o *outbox) begun() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done != nil
}

// close sends what is left, within a bound. What is put later is dropped.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.filled.Signal()
	done := o.done
	o.mu.Unlock()
	if done == nil {
		return
	}
	o.control.SetWriteDeadline(time.Now().Add(outboxEnd))
	<-done
	o.control.SetWriteDeadline(time.Time{})
}

func (o *outbox) deliver() {
	defer close(o.done)
	for {
		o.mu.Lock()
		for len(o.lines) == 0 && !o.closed {
			o.filled.Wait()
		}
		lines := o.lines
		o.lines = nil
		o.mu.Unlock()
		if len(lines) == 0 {
			return
		}
		// a client that left is noticed through its request's context
		if _, err := o.w.Write(bytes.Join(lines, nil)); err == nil {
			o.control.Flush()
		}
	}
}
