package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"gantry/project"
	"gantry/scheduler"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
)

// maxMessage bounds the error message that is read from an answer.
const maxMessage = 1 << 20

// Dialer opens a connection to the daemon.
type Dialer func(ctx context.Context) (net.Conn, error)

// Client speaks the project routes. It is safe for concurrent use.
type Client struct{ http *http.Client }

// New returns a client; nothing is dialled before the first call.
func New(dial Dialer) *Client {
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression: true,
	}
	return &Client{http: &http.Client{Transport: transport}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Error is a refusal by the daemon. It wraps a class of
// github.com/containerd/errdefs.
type Error struct {
	Message string
	class   error
}

func (e *Error) Error() string { return e.Message }
func (e *Error) Unwrap() error { return e.class }

// Do carries out a verb on a project and calls emit for every event but the
// last. It returns when the daemon is done. Its error is an *Error when the
// request was refused or the verb failed, and wraps errdefs.ErrUnavailable when
// the connection broke before the end, so that the outcome is unknown.
func Do[O any](ctx context.Context, c *Client, name string, verb Verb, req Request[O], emit func(scheduler.Event)) error {
	resp, err := c.send(ctx, http.MethodPost, projectPath(name)+"/"+string(verb), req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	events := json.NewDecoder(resp.Body)
	for {
		var e scheduler.Event
		if err := events.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("%s of project %q: %w (%w)", verb, name, unexpected(err), errdefs.ErrUnavailable)
		}
		switch {
		case e.Step == -1 && e.Status == scheduler.StatusDone:
			return nil
		case e.Step == -1 && e.Status == scheduler.StatusFailed:
			return &Error{Message: e.Error, class: errdefs.ErrUnknown}
		}
		emit(e)
	}
}

// Plan returns what a verb would do, and changes nothing.
func Plan[O any](ctx context.Context, c *Client, name string, verb Verb, req Request[O]) (*PlanResponse, error) {
	path := projectPath(name) + "/plan?verb=" + url.QueryEscape(string(verb))
	var out PlanResponse
	if err := c.receive(ctx, http.MethodPost, path, req, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// Projects lists those that have running containers, or with all any container.
func (c *Client) Projects(ctx context.Context, all bool) ([]Summary, error) {
	path := RouteProjects
	if all {
		path += "?all=1"
	}
	var out []Summary
	err := c.receive(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

// Project returns what was last asked for; ErrNotFound when nobody asked.
func (c *Client) Project(ctx context.Context, name string) (*project.Project, error) {
	var out project.Project
	if err := c.receive(ctx, http.MethodGet, projectPath(name), nil, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

func projectPath(name string) string { return RouteProjects + "/" + url.PathEscape(name) }

func (c *Client) receive(ctx context.Context, method, path string, body, out any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("answer of the daemon to %s %s: %w", method, path, err)
	}
	return nil
}

// send returns the answer when its status is a success.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request %s: %w", path, err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://gantry"+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // its operation and URL tell a user nothing
		}
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, method, path)
}

func refusal(resp *http.Response, method, path string) error {
	content, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	var answer struct{ Message string }
	if json.Unmarshal(content, &answer) != nil || answer.Message == "" {
		answer.Message = fmt.Sprintf("the daemon answered %s to %s %s", resp.Status, method, path)
	}
	return &Error{Message: answer.Message, class: errhttp.ToNative(resp.StatusCode)}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
