package build

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/gateway/client"
	"github.com/moby/buildkit/solver/result"
)

// mostExpanded is how many bytes the instructions of a Dockerfile may have with
// the values of variables in place.
const mostExpanded = 64 << 20

// checkGrowth refuses a Dockerfile whose variables are made of each other so
// that they take all memory: the frontend puts them together without a bound.
// It counts their lengths, from above. args are those of build arguments. What
// is no Dockerfile passes.
func checkGrowth(text []byte, args map[string]int) error {
	if !bytes.ContainsRune(text, '$') {
		return nil
	}
	file, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil // the frontend tells it
	}
	values, total := map[string]int{}, 0
	for name, n := range args {
		values[name] = n
	}
	for _, node := range file.AST.Children {
		var words []string
		for n := node.Next; n != nil; n = n.Next {
			words = append(words, n.Value)
		}
		switch strings.ToLower(node.Value) {
		case "run", "cmd", "entrypoint", "healthcheck", "shell", "onbuild", "maintainer":
			continue // shells know these variables, and nobody else
		case "arg":
			for _, w := range words {
				name, value, _ := strings.Cut(w, "=")
				values[name] = max(values[name], grown(value, values))
			}
		case "env": // a name, its value, and what is between them
			for i := 0; i+1 < len(words); i += 3 {
				values[words[i]] = max(values[words[i]], grown(words[i+1], values))
			}
		}
		for _, h := range node.Heredocs {
			words = append(words, h.Content)
		}
		for _, w := range words {
			total = min(total+grown(w, values), mostExpanded+1)
		}
		if total > mostExpanded {
			return fmt.Errorf("line %d: with the values of its variables it would have more than %d bytes: %w", node.StartLine, mostExpanded, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

var (
	variable = regexp.MustCompile(`\$\{?([A-Za-z_][A-Za-z0-9_]*)`)
	replaced = regexp.MustCompile(`\$\{\w+/`) // ${NAME/pattern/value}
)

// grown is the most bytes that a word has with the values of variables in place.
func grown(word string, values map[string]int) int {
	n := len(word)
	for _, m := range variable.FindAllStringSubmatch(word, -1) {
		n = min(n+values[m[1]], mostExpanded+1)
	}
	if replaced.MatchString(word) {
		n *= n + 1 // each byte may be replaced by all
	}
	return min(n, mostExpanded+1)
}

// checkedFile is where a frontend reads a Dockerfile.
type checkedFile struct {
	client.Reference
	args map[string]int
}

func (r checkedFile) ReadFile(ctx context.Context, req client.ReadRequest) ([]byte, error) {
	text, err := r.Reference.ReadFile(ctx, req)
	if err != nil || strings.HasSuffix(req.Filename, ignoreFile) {
		return text, err
	}
	if err := checkGrowth(text, r.args); err != nil {
		return nil, fmt.Errorf("%s: %w", path.Base(req.Filename), err)
	}
	return text, nil
}

// argLengths are those of the build arguments in a frontend's options.
func argLengths(options map[string]string) map[string]int {
	out := map[string]int{}
	for k, v := range options {
		if name, ok := strings.CutPrefix(k, "build-arg:"); ok {
			out[name] = len(v)
		}
	}
	return out
}

// checked has a frontend read Dockerfiles through checkedFile, and unchecked
// takes that away from what it returns.
func checked(res *client.Result, options map[string]string) *client.Result {
	if res != nil && res.Ref != nil {
		res.Ref = &checkedFile{res.Ref, argLengths(options)}
	}
	return res
}

func unchecked(res *client.Result, err error) (*client.Result, error) {
	if err != nil || res == nil {
		return res, err
	}
	return result.ConvertResult(res, func(ref client.Reference) (client.Reference, error) {
		for {
			c, ok := ref.(*checkedFile)
			if !ok {
				return ref, nil
			}
			ref = c.Reference
		}
	})
}
