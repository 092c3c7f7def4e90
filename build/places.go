package build

import (
	"strings"

	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
)

// placed gives what an instruction fetches, such as the URL of an ADD, the place
// of that instruction in the Dockerfile, so that errors name it: the frontend
// notes the places of what it does with it alone.
func placed(def *pb.Definition) {
	if def == nil || def.Source == nil {
		return
	}
	places := def.Source.Locations
	fetched := map[string]bool{}
	for _, data := range def.Def { // inputs come first
		var op pb.Op
		if op.UnmarshalVT(data) != nil {
			return // whoever solves it says so
		}
		id := digest.FromBytes(data).String()
		known := len(places[id].GetLocations()) > 0
		if s := op.GetSource(); s != nil && !known && !strings.HasPrefix(s.Identifier, "local:") {
			fetched[id] = true
		}
		for _, in := range op.Inputs {
			if known && fetched[in.Digest] {
				places[in.Digest] = places[id]
				delete(fetched, in.Digest)
			}
		}
	}
}
