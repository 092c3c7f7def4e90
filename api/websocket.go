package api

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/gorilla/websocket"
)

// upgrade makes a websocket of a request's connection. Output goes out as it
// is, both streams together, in binary messages; every message that comes in
// is input. A page of another origin is refused.
func upgrade(w http.ResponseWriter, r *http.Request, tty bool) (*duplex, error) {
	var refused error
	u := websocket.Upgrader{Error: func(_ http.ResponseWriter, _ *http.Request, status int, reason error) {
		var class error = errdefs.ErrInvalidArgument
		if status == http.StatusForbidden {
			class = errdefs.ErrPermissionDenied
		}
		refused = fmt.Errorf("%w: %w", reason, class)
	}}
	c, err := u.Upgrade(w, r, nil)
	if refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	conn := &messages{Conn: c}
	return &duplex{conn: conn, in: conn, tty: tty, raw: true}, nil
}

// messages is a websocket read and written as a stream.
type messages struct {
	*websocket.Conn
	current io.Reader
}

var _ net.Conn = (*messages)(nil)

var errLeft = errors.New("the client has closed the websocket")

// Read never ends well: a websocket has no half-close, so a client that ends
// it has left.
func (m *messages) Read(p []byte) (int, error) {
	for {
		if m.current == nil {
			_, next, err := m.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
				return 0, errLeft
			}
			if err != nil {
				return 0, err
			}
			m.current = next
		}
		n, err := m.current.Read(p)
		if errors.Is(err, io.EOF) {
			m.current, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (m *messages) Write(p []byte) (int, error) {
	if err := m.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite says goodbye.
func (m *messages) CloseWrite() error {
	bye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	return m.WriteControl(websocket.CloseMessage, bye, time.Now().Add(hijackEnd))
}

func (m *messages) SetDeadline(t time.Time) error {
	return errors.Join(m.SetReadDeadline(t), m.SetWriteDeadline(t))
}
