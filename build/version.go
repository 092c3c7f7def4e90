package build

import (
	"runtime/debug"
	"sync"

	"github.com/moby/buildkit/version"
)

// tellVersion gives BuildKit the version that its module has here: it is
// otherwise known only to programs that are linked in its own way. Clients show
// it, and so do attestations.
var tellVersion = sync.OnceFunc(func() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return
	}
	for _, m := range info.Deps {
		if m.Path == version.Package {
			version.Version = m.Version
		}
	}
})
