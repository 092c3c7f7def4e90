package build

import (
	"context"
	"net"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/log"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/resolver"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
)

// newServer makes a gRPC server whose requests carry containerd's namespace: a
// caller's own arrives as incoming metadata only, and would not be passed on.
func newServer(namespace string) *grpc.Server {
	logger := quietLog()
	within := func(ctx context.Context) context.Context {
		return log.WithLogger(namespaces.WithNamespace(ctx, namespace), logger)
	}
	return grpc.NewServer(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
			resp, err := h(within(ctx), req)
			forgetRegistries(err)
			return resp, err
		}, grpcerrors.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(func(s any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
			return h(s, &namespaced{ss, within(ss.Context())})
		}, grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(16<<20), grpc.MaxSendMsgSize(16<<20),
	)
}

// quietLog writes where the process logs, at its usual level only BuildKit's
// errors: it warns in each build of what it has not got or found, such as
// cgroup v2.
func quietLog() *log.Entry {
	l := logrus.New()
	l.SetOutput(log.L.Logger.Out)
	l.SetFormatter(log.L.Logger.Formatter)
	l.SetLevel(log.L.Logger.GetLevel())
	if l.GetLevel() == logrus.InfoLevel {
		l.SetLevel(logrus.ErrorLevel)
	}
	return logrus.NewEntry(l).WithField("module", "buildkit")
}

// forgetRegistries makes the next build look anew for how a registry is
// reached, if that was what a build failed of: its certificate may have been
// put in place meanwhile, and BuildKit asks once in ten minutes.
func forgetRegistries(err error) {
	if err != nil && (strings.Contains(err.Error(), "x509: ") || strings.Contains(err.Error(), "tls: ")) {
		resolver.DefaultPool.Clear()
	}
}

type namespaced struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *namespaced) Context() context.Context { return s.ctx }

// handedOver is a listener for connections that somebody else accepted.
type handedOver struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newHandedOver() *handedOver {
	return &handedOver{conns: make(chan net.Conn), done: make(chan struct{})}
}

// hand passes a connection on and waits until it is closed.
func (h *handedOver) hand(ctx context.Context, conn net.Conn) error {
	c := &watched{Conn: conn, closed: make(chan struct{})}
	select {
	case h.conns <- c:
	case <-h.done:
		return net.ErrClosed
	}
	select {
	case <-c.closed:
	case <-ctx.Done():
		conn.Close()
	}
	return nil
}

func (h *handedOver) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handedOver) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handedOver) Addr() net.Addr { return &net.UnixAddr{Name: "build", Net: "unix"} }

// watched tells when a connection was closed.
type watched struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

func (w *watched) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}

// sessionConn ends its session when nothing more can come from the client:
// BuildKit by itself notices when it checks its health the next time.
type sessionConn struct {
	net.Conn
	gone context.CancelFunc
}

func (c sessionConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.gone()
	}
	return n, err
}
