package stdio

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/containerd/log"
)

// helloTimeout is how long a connection may take to say what it wants.
const helloTimeout = 10 * time.Second

func (h *Hub) accept() {
	for {
		conn, err := h.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of files or memory, which passes
			log.L.WithError(err).WithField("socket", h.cfg.Socket).Error("cannot take a client")
			select {
			case <-time.After(100 * time.Millisecond):
			case <-h.done:
				return
			}
			continue
		}
		go h.serve(conn)
	}
}

// serve attaches one client, until it leaves or has everything.
func (h *Hub) serve(conn net.Conn) {
	defer conn.Close()
	in := &frameReader{r: bufio.NewReaderSize(conn, 4<<10)}
	conn.SetReadDeadline(time.Now().Add(helloTimeout))
	kind, p, err := in.next()
	if err != nil || kind != frameHello || len(p) != 1 {
		return
	}
	conn.SetReadDeadline(time.Time{})
	bringsInput := p[0] == 1
	c := h.join(conn)
	if c == nil {
		return
	}
	go func() {
		h.takeInput(in, bringsInput)
		c.drop(net.ErrClosed)
	}()
	if err := c.send(); errors.Is(err, errDropped) {
		log.L.WithError(err).WithField("socket", h.cfg.Socket).Info("a client was detached")
	}
	h.leave(c)
}

// join makes a connection a client, or takes it for the awaited one. It
// returns nil when there is nothing more to come.
func (h *Hub) join(conn net.Conn) *client {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.clients {
		if c.adopt(conn) {
			return c
		}
	}
	if h.ended {
		return nil
	}
	c := newClient(conn, h.stall)
	h.clients = append(slices.Clone(h.clients), c)
	return c
}

func (h *Hub) leave(c *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients = slices.DeleteFunc(slices.Clone(h.clients), func(x *client) bool { return x == c })
}

// takeInput moves a client's input to the process until the client is gone,
// and ends the process's input if it is to. What a process without an input,
// or one that has closed it, is sent is discarded.
func (h *Hub) takeInput(in *frameReader, brings bool) {
	for {
		kind, p, err := in.next()
		switch {
		case err != nil:
			if brings {
				h.clientInputEnd()
			}
			return
		case kind == frameStdinEnd:
			h.clientInputEnd()
		case kind == Stdin && h.input != nil:
			h.input.ours.Write(p)
		}
	}
}

func (h *Hub) clientInputEnd() {
	if h.cfg.CloseStdin && !h.cfg.Terminal {
		h.closeInput(h.onInput)
	}
}
