package build

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/moby/buildkit/cache"
	"github.com/opencontainers/go-digest"
)

// countAlone makes a cache tell what images hold, too, from what is its own.
// BuildKit knows the former by the layers' digests. What was never exported has
// none, and passes for the image below it: the results of a Dockerfile's first
// stages would be neither counted nor collected for as long as their base is
// there. The manager's type is not exported, its field is.
func countAlone(manager cache.Manager) error {
	field := reflect.Indirect(reflect.ValueOf(manager)).FieldByName("PruneRefChecker")
	if !field.IsValid() || !field.CanSet() || field.Type() != reflect.TypeFor[cache.ExternalRefCheckerFunc]() {
		return fmt.Errorf("BuildKit's cache %T does not say how it knows what images hold", manager)
	}
	before := field.Interface().(cache.ExternalRefCheckerFunc)
	field.Set(reflect.ValueOf(cache.ExternalRefCheckerFunc(func() (cache.ExternalRefChecker, error) {
		c, err := before()
		return exportedOnly{c}, err
	})))
	return nil
}

// exportedOnly knows that what has no layer is in no image.
type exportedOnly struct{ cache.ExternalRefChecker }

func (c exportedOnly) Exists(key string, layers []digest.Digest) bool {
	return !slices.Contains(layers, "") && c.ExternalRefChecker.Exists(key, layers)
}
