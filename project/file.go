package project

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// File is a secret or config that is a file of the container's own, because it
// does not come from a file of the host or has another owner or mode than that.
type File struct {
	Kind    string  `json:"kind"` // secret or config
	Name    string  `json:"name"` // its key in the project
	Target  string  `json:"target"`
	UID     int     `json:"uid,omitempty"`
	GID     int     `json:"gid,omitempty"`
	Mode    uint32  `json:"mode"`              // permission bits
	Content Content `json:"content,omitempty"` // goes from who asks to the container, and nowhere else
	// Withheld says that the content was left out, where it must not be kept.
	Withheld bool `json:"withheld,omitempty"`
}

// Content is what a secret or config holds. However it is printed, it is not
// shown.
type Content []byte

// Format prints how much there is.
func (c Content) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "(%d bytes)", len(c)) }

// Digest tells contents apart.
func (c Content) Digest() string {
	sum := sha256.Sum256(c)
	return hex.EncodeToString(sum[:])
}

// maxFile bounds the content of a File, in bytes: it travels with the request.
const maxFile = 1 << 20

// Withhold is the project without the contents of its files.
func (p *Project) Withhold() *Project {
	out := *p
	out.Services = append([]Service(nil), p.Services...)
	for i := range out.Services {
		out.Services[i].Files = withheld(out.Services[i].Files)
	}
	return &out
}

func withheld(files []File) []File {
	var out []File
	for _, f := range files {
		f.Content, f.Withheld = nil, true
		out = append(out, f)
	}
	return out
}

// files lists the secrets, then the configs, that are not mounted as they are on
// the host.
func (t *translator) files(s types.ServiceConfig) []File {
	var out []File
	for _, ref := range s.Secrets {
		if o := types.FileObjectConfig(t.model.Secrets[ref.Source]); !mountable(o, types.FileReferenceConfig(ref)) {
			out = t.addFile(out, s, "secrets", o, types.FileReferenceConfig(ref), secretTarget(ref))
		}
	}
	for _, ref := range s.Configs {
		if o := types.FileObjectConfig(t.model.Configs[ref.Source]); !mountable(o, types.FileReferenceConfig(ref)) {
			out = t.addFile(out, s, "configs", o, types.FileReferenceConfig(ref), configTarget(ref))
		}
	}
	return out
}

// mountable says that a file of the host is used as it is.
func mountable(o types.FileObjectConfig, ref types.FileReferenceConfig) bool {
	return o.File != "" && ref.UID == "" && ref.GID == "" && ref.Mode == nil
}

func (t *translator) addFile(out []File, s types.ServiceConfig, section string, o types.FileObjectConfig, ref types.FileReferenceConfig, target string) []File {
	f := File{Kind: strings.TrimSuffix(section, "s"), Name: ref.Source, Target: target, Mode: 0o444}
	content, err := t.content(o)
	switch {
	case bool(o.External): // refused before, or ignored on the user's word
		return out
	case err != nil:
		t.fileProblem(s, section, ref.Source, "%s %q: %s", f.Kind, ref.Source, err)
	case len(content) > maxFile:
		t.fileProblem(s, section, ref.Source, "%s %q has %d bytes, and at most %d can be given to a container; mount it as a volume", f.Kind, ref.Source, len(content), maxFile)
	}
	f.Content = content
	if ref.Mode != nil {
		f.Mode = uint32(*ref.Mode)
	}
	if f.Mode > 0o777 {
		t.problem(s, []string{section}, "%s %q: mode %o is not made of permission bits such as 0440", f.Kind, ref.Source, f.Mode)
	}
	for _, id := range []struct {
		key, value string
		to         *int
	}{{"uid", ref.UID, &f.UID}, {"gid", ref.GID, &f.GID}} {
		if id.value == "" {
			continue
		}
		if *id.to, err = strconv.Atoi(id.value); err != nil || *id.to < 0 {
			t.problem(s, []string{section}, "%s %q: %s %q is not a number", f.Kind, ref.Source, id.key, id.value)
		}
	}
	return append(out, f)
}

func (t *translator) content(o types.FileObjectConfig) (Content, error) {
	switch {
	case o.File != "":
		content, err := os.ReadFile(o.File)
		if err != nil {
			return nil, fmt.Errorf("cannot use file %q: %s", o.File, reason(err))
		}
		return content, nil
	case o.Environment == "":
		return Content(o.Content), nil
	}
	if _, set := t.variable(o); !set {
		return nil, fmt.Errorf("the variable %q is not set", o.Environment)
	}
	return Content(o.Content), nil
}

// variable is the value of what comes from the environment; an included file may
// have one of its own.
func (t *translator) variable(o types.FileObjectConfig) (value string, set bool) {
	if o.Content != "" {
		return o.Content, true
	}
	return t.in.options.Environment.Resolve(o.Environment)
}

// fileProblem notes what is wrong about where a file comes from.
func (t *translator) fileProblem(s types.ServiceConfig, section, name, format string, args ...any) {
	t.problems = append(t.problems, Problem{Position: t.survey.position(section, name), Service: s.Name, Text: fmt.Sprintf(format, args...)})
}
