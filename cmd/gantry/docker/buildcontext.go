package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gantry/build/sent"

	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/ociindex"
	buildctl "github.com/moby/buildkit/cmd/buildctl/build"
	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/moby/buildkit/util/gitutil"
	"github.com/moby/buildkit/util/staticfs"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// maxDockerfile is how many bytes a Dockerfile on stdin may have.
const maxDockerfile = 8 << 20

var (
	errStdinTwice = errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	errAmbiguous  = errors.New("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
)

// givenDockerfile is the text of a Dockerfile that comes neither from the
// context nor from a directory: on stdin or from a URL; nil for another one.
func (f *Front) givenDockerfile(ctx context.Context, o *buildOptions, source string) ([]byte, error) {
	switch {
	case o.file == "-" && source == "-":
		return nil, errStdinTwice
	case o.file == "-":
		return readDockerfile(f.input(ctx))
	case isHTTP(o.file):
		text, err := f.fetched(ctx, o.file)
		if err != nil {
			return nil, fmt.Errorf("--file %q: %w", o.file, err)
		}
		return text, nil
	}
	return nil, nil
}

// input is stdin, which ends with ctx even when nobody writes to it.
func (f *Front) input(ctx context.Context) io.Reader {
	out, in := io.Pipe()
	context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.Copy(in, f.cli.In())
		in.CloseWithError(err)
	}()
	return out
}

func readDockerfile(in io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(in, maxDockerfile+1))
	if err == nil && len(text) > maxDockerfile {
		err = fmt.Errorf("it is larger than %d bytes", maxDockerfile)
	}
	if err != nil {
		return nil, fmt.Errorf("Dockerfile on stdin: %w", err)
	}
	return text, nil
}

// fetched has the builder get a file from the web.
func (f *Front) fetched(ctx context.Context, url string) (text []byte, err error) {
	kit, err := f.kit(ctx)
	if err != nil {
		return nil, err
	}
	defer kit.Close()
	const name = "Dockerfile"
	def, err := llb.HTTP(url, llb.Filename(name), dockerui.WithInternalName("load "+url)).Marshal(ctx)
	if err != nil {
		return nil, err
	}
	_, err = kit.Build(ctx, buildkit.SolveOpt{Internal: true}, "gantry", func(ctx context.Context, c gateway.Client) (*gateway.Result, error) {
		res, err := c.Solve(ctx, gateway.SolveRequest{Definition: def.ToPB()})
		if err != nil {
			return nil, err
		}
		ref, err := res.SingleRef()
		if err != nil {
			return nil, err
		}
		text, err = dockerui.ReadFile(ctx, ref, name)
		return gateway.NewResult(), err
	}, nil)
	return text, err
}

// context says where files come from: a directory, a URL, or stdin. given is
// the Dockerfile, nil if it is one of those.
func (f *Front) context(ctx context.Context, o *buildOptions, source string, given []byte, s *buildkit.SolveOpt) error {
	if err := contexts(o, s); err != nil {
		return err
	}
	switch {
	case source == "-":
		return f.stdin(ctx, o, given, s)
	case isRemote(source):
		s.FrontendAttrs["context"] = source
		if given == nil && filepath.IsAbs(o.file) {
			return localDockerfile(o.file, s)
		}
	default:
		dir, err := directory(source)
		if err != nil {
			return fmt.Errorf("unable to prepare context: %w", err)
		}
		s.LocalMounts["context"] = dir
		// by this name BuildKit finds what it was sent by earlier builds
		if s.SharedKey, err = filepath.Abs(source); err != nil {
			return err
		}
		if given == nil {
			return localDockerfile(inContext(source, o.file), s)
		}
	}
	if given != nil {
		giveDockerfile(given, s)
	} else {
		set(s.FrontendAttrs, "filename", o.file)
	}
	return nil
}

// stdin has an archive or a Dockerfile.
func (f *Front) stdin(ctx context.Context, o *buildOptions, given []byte, s *buildkit.SolveOpt) error {
	in, err := sent.Look(f.input(ctx))
	switch {
	case err != nil:
		return err
	case in.Empty:
		return errors.New("no build context: stdin is empty")
	case !in.Archive && o.file != "":
		return errAmbiguous
	case !in.Archive:
		s.LocalMounts["context"] = staticfs.NewFS()
		text, err := readDockerfile(in)
		if err != nil {
			return err
		}
		giveDockerfile(text, s)
		return nil
	}
	up := uploadprovider.New()
	s.FrontendAttrs["context"] = up.Add(io.NopCloser(in))
	s.Session = append(s.Session, up)
	switch {
	case given != nil:
		giveDockerfile(given, s)
	case filepath.IsAbs(o.file):
		return localDockerfile(o.file, s)
	default:
		set(s.FrontendAttrs, "filename", o.file)
	}
	return nil
}

// inContext is the path of the Dockerfile of a directory.
func inContext(dir, file string) string {
	switch {
	case file == "":
		return filepath.Join(dir, dockerui.DefaultDockerfileName)
	case !exists(file) && !filepath.IsAbs(file) && exists(filepath.Join(dir, file)):
		return filepath.Join(dir, file)
	}
	return file
}

// localDockerfile takes the Dockerfile from this host; beside it may be one
// that says what to ignore. BuildKit finds it in lower case, too.
func localDockerfile(path string, s *buildkit.SolveOpt) error {
	dir, err := directory(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("--file: %w", err)
	}
	s.LocalMounts["dockerfile"], s.FrontendAttrs["filename"] = dir, filepath.Base(path)
	if s.FrontendAttrs["context"] != "" { // else it is where Dockerfiles are looked for
		s.FrontendAttrs["dockerfilekey"] = "dockerfile"
	}
	return nil
}

func giveDockerfile(text []byte, s *buildkit.SolveOpt) {
	file := staticfs.NewFS()
	file.Add(dockerui.DefaultDockerfileName, &types.Stat{Mode: 0o644}, text)
	s.LocalMounts["dockerfile"], s.FrontendAttrs["dockerfilekey"] = file, "dockerfile"
}

// contexts are those beside the main one.
func contexts(o *buildOptions, s *buildkit.SolveOpt) error {
	for _, text := range o.contexts {
		name, from, ok := strings.Cut(text, "=")
		if !ok || name == "" || from == "" {
			return fmt.Errorf("--build-context %q: write name=path or name=url", text)
		}
		// frontends that are pulled want to be told
		s.FrontendAttrs["frontend.caps"] = "moby.buildkit.frontend.contexts+forward"
		if layout, ok := strings.CutPrefix(from, "oci-layout://"); ok {
			if err := layoutContext(name, layout, s); err != nil {
				return fmt.Errorf("--build-context %q: %w", name, err)
			}
			continue
		}
		if isRemote(from) || strings.HasPrefix(from, "docker-image://") || strings.HasPrefix(from, "target:") {
			s.FrontendAttrs["context:"+name] = from
			continue
		}
		dir, err := directory(from)
		if err != nil {
			return fmt.Errorf("failed to get build context %q: %w", name, err)
		}
		mount := name
		if name == "context" || name == "dockerfile" { // those are mounted, too
			mount = "_" + name
		}
		s.LocalMounts[mount], s.FrontendAttrs["context:"+name] = dir, "local:"+mount
	}
	return nil
}

// FindLayout reads DIRECTORY[:TAG][@DIGEST] of an OCI layout, and says which image
// of it is meant.
func FindLayout(layout string) (dir, tag, digest string, err error) {
	dir, digest, pinned := strings.Cut(layout, "@")
	dir, tag, tagged := strings.Cut(dir, ":")
	if !tagged {
		tag = "latest"
	}
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil { // a store is made where none is
		return "", "", "", fmt.Errorf("no OCI layout: %w", err)
	}
	if !pinned {
		index := ociindex.NewStoreIndex(dir)
		target, err := index.Get(tag)
		if err == nil && target == nil && !tagged {
			target, err = index.GetSingle()
		}
		if err == nil && target == nil {
			err = fmt.Errorf("no image with the tag %q", tag)
		}
		if err != nil {
			return "", "", "", fmt.Errorf("OCI layout %q: %w", dir, err)
		}
		digest = target.Digest.String()
	}
	return dir, tag, digest, nil
}

// layoutContext is an image in an OCI layout.
func layoutContext(name, layout string, s *buildkit.SolveOpt) error {
	dir, tag, digest, err := FindLayout(layout)
	if err != nil {
		return err
	}
	id := "layout-" + name
	stores, err := buildctl.ParseOCILayout([]string{id + "=" + dir})
	if err != nil {
		return err
	}
	if s.OCIStores == nil {
		s.OCIStores = stores
	}
	s.OCIStores[id] = stores[id]
	s.FrontendAttrs["context:"+name] = "oci-layout://" + id + ":" + tag + "@" + digest
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func isHTTP(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

func isRemote(source string) bool {
	if isHTTP(source) {
		return true
	}
	if exists(source) {
		return false
	}
	_, git, _ := dfgitutil.ParseGitRef(source)
	return git
}

// OverSSH tells whether a source is a git repository that SSH leads to: it is
// fetched with the agent of whoever builds it.
func OverSSH(source string) bool {
	if !isRemote(source) {
		return false
	}
	u, err := gitutil.ParseURL(source)
	return err == nil && u.Scheme == gitutil.SSHProtocol
}

func directory(path string) (fsutil.FS, error) {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("path %q not found", path)
	}
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("path %q is not a directory", path)
	}
	if err != nil {
		return nil, err
	}
	return fsutil.NewFS(path)
}
