package project

import (
	"fmt"
	"io"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/docker/cli/pkg/kvfile"
)

// The loader knows of the format raw only what it is told. Source: compose
// specification, env_file, format.
func init() { dotenv.RegisterFormat("raw", readRaw) }

// readRaw reads KEY=VALUE, one in a line and as it stands there, and KEY for a
// variable of the environment. Source: docker run --env-file.
func readRaw(r io.Reader, file string, vars map[string]string, lookup func(string) (string, bool)) error {
	lines, err := kvfile.ParseFromReader(r, lookup)
	if err != nil {
		return fmt.Errorf("env_file %q: %w", file, err)
	}
	for _, line := range lines {
		key, value, _ := strings.Cut(line, "=")
		vars[key] = value
	}
	return nil
}
