// Package stdio carries the standard streams of a container's process between
// the shim, which owns them, and whoever attaches. The shim runs a [Hub] for
// every process; the daemon reaches it through [Attach].
package stdio

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// Scheme is the scheme of the URIs that [Config.URI] makes.
const Scheme = "gantry"

// maxSocketPath is what sun_path holds, less its final NUL; unix(7).
const maxSocketPath = 107

// Config says where the streams of one process go. It travels from the daemon
// to the shim as the stdout URI of a task's create or exec request.
type Config struct {
	Socket  string // absolute path to attach at, at most 107 bytes; "" when nobody may attach
	LogPath string // absolute path of the json-file log, "" for none
	MaxSize int64  // bytes at which the log rotates; 0: the default, negative: never
	MaxFile int    // how many files are kept, the current one included; 0: the default
	// Attrs stand in every entry of the log.
	Attrs map[string]string

	// Terminal: stdout and stderr are one stream, and the end of a client's
	// input does not end the process's (a terminal has no end of file).
	Terminal bool
	// CloseStdin ends the process's input when a client ends its own, or when
	// a client that attached with [WithStdin] goes away (Docker's StdinOnce).
	CloseStdin bool
	// AwaitClient keeps the first output (up to 1 MiB, then the process waits,
	// for 10 s at most) until a first client has attached.
	AwaitClient bool
}

// URI encodes c, as gantry://<socket>?log=…
func (c Config) URI() string {
	q := url.Values{}
	if c.LogPath != "" {
		q.Set("log", c.LogPath)
	}
	if c.MaxSize != 0 {
		q.Set("max-size", strconv.FormatInt(c.MaxSize, 10))
	}
	if c.MaxFile != 0 {
		q.Set("max-file", strconv.Itoa(c.MaxFile))
	}
	if len(c.Attrs) > 0 {
		attrs := url.Values{}
		for k, v := range c.Attrs {
			attrs.Set(k, v)
		}
		q.Set("attrs", attrs.Encode())
	}
	for name, on := range map[string]bool{"terminal": c.Terminal, "close-stdin": c.CloseStdin, "await-client": c.AwaitClient} {
		if on {
			q.Set(name, "1")
		}
	}
	return (&url.URL{Scheme: Scheme, Path: c.Socket, RawQuery: q.Encode()}).String()
}

// IsURI reports whether s is meant for [Parse].
func IsURI(s string) bool { return strings.HasPrefix(s, Scheme+":") }

// Parse decodes what [Config.URI] made. Its errors are ErrInvalidArgument.
func Parse(s string) (Config, error) {
	bad := func(why string) (Config, error) {
		return Config{}, fmt.Errorf("stdio URI %q: %s: %w", s, why, errdefs.ErrInvalidArgument)
	}
	u, err := url.Parse(s)
	if err != nil {
		return bad(err.Error())
	}
	if u.Scheme != Scheme || u.Host != "" || u.Opaque != "" {
		return bad("want gantry:///path/of/socket?log=…")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return bad(err.Error())
	}
	c := Config{Socket: u.Path}
	flags := map[string]*bool{"terminal": &c.Terminal, "close-stdin": &c.CloseStdin, "await-client": &c.AwaitClient}
	for name, values := range q {
		v := values[0]
		switch name {
		case "log":
			c.LogPath = v
		case "max-size":
			c.MaxSize, err = strconv.ParseInt(v, 10, 64)
		case "max-file":
			c.MaxFile, err = strconv.Atoi(v)
		case "attrs":
			var attrs url.Values
			attrs, err = url.ParseQuery(v)
			c.Attrs = make(map[string]string, len(attrs))
			for k := range attrs {
				c.Attrs[k] = attrs.Get(k)
			}
		default:
			// a shim outlives its daemon, and the next one may say more
			if flag, ok := flags[name]; ok {
				*flag, err = strconv.ParseBool(v)
			}
		}
		if err != nil {
			return bad(name + ": " + err.Error())
		}
	}
	if len(c.Socket) > maxSocketPath {
		return bad(fmt.Sprintf("a socket path has at most %d bytes, this one %d", maxSocketPath, len(c.Socket)))
	}
	if c.Socket != "" && !filepath.IsAbs(c.Socket) || c.LogPath != "" && !filepath.IsAbs(c.LogPath) {
		return bad("paths must be absolute")
	}
	if c.MaxFile < 0 {
		return bad("max-file must not be negative")
	}
	return c, nil
}
