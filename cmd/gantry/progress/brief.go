package progress

import (
	"regexp"
	"strings"
)

var (
	// an ID, unless it is part of a path
	longID = regexp.MustCompile(`(^|[^/\w])([0-9a-f]{12})[0-9a-f]{52}\b`)
	// the step, when its error names the container again
	waitStep = regexp.MustCompile(`(?m)^wait container \S+ \w+: (service "[^"]*": container )`)
	// the layers that an OCI runtime's error passes through: why comes last
	runtimeLayers = regexp.MustCompile(`(?:(?:task of container|starting process) "[^"]*"(?: in container "[^"]*")?: )?(?:failed to create shim task: )?OCI runtime \w+ failed: (?:runc )?\w+ failed: unable to start container process: `)
)

// Brief leaves out of an error's text what tells people nothing: what is said
// twice in a row, the runtime's layers, and most of an ID's digits.
func Brief(text string) string {
	text = runtimeLayers.ReplaceAllString(text, "")
	text = waitStep.ReplaceAllString(text, "$1")
	text = longID.ReplaceAllString(text, "$1$2")
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		parts := strings.Split(l, ": ")
		kept := parts[:1]
		for _, p := range parts[1:] {
			if !strings.Contains(p, ` "`) || !strings.Contains(bare(kept[len(kept)-1]), bare(p)) {
				kept = append(kept, p)
			}
		}
		lines[i] = strings.Join(kept, ": ")
	}
	return strings.Join(lines, "\n")
}

func bare(s string) string { return strings.ReplaceAll(s, `"`, "") }
