package api

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"time"
)

// pipeWriter is a response whose connection can be taken over; it keeps what is
// sent.
type pipeWriter struct {
	header http.Header
	out    bytes.Buffer
}

func newPipeWriter() *pipeWriter                       { return &pipeWriter{header: http.Header{}} }
func (p *pipeWriter) Header() http.Header              { return p.header }
func (p *pipeWriter) WriteHeader(int)                  {}
func (p *pipeWriter) Write(b []byte) (int, error)      { return p.out.Write(b) }
func (p *pipeWriter) sent() string                     { return p.out.String() }
func (p *pipeWriter) Read([]byte) (int, error)         { return 0, net.ErrClosed }
func (p *pipeWriter) Close() error                     { return nil }
func (p *pipeWriter) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (p *pipeWriter) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (p *pipeWriter) SetDeadline(time.Time) error      { return nil }
func (p *pipeWriter) SetReadDeadline(time.Time) error  { return nil }
func (p *pipeWriter) SetWriteDeadline(time.Time) error { return nil }
func (p *pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p, bufio.NewReadWriter(bufio.NewReader(p), bufio.NewWriter(p)), nil
}
