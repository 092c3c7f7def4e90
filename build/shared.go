package build

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/cache/metadata"
	"github.com/opencontainers/go-digest"
)

// countAlone makes a cache tell what images hold, too, from what is its own.
// BuildKit knows the former by the layers' digests. What was never exported has
// none, and passes for the image below it: the results of a Dockerfile's first
// stages would be neither counted nor collected for as long as their base is
// there. What is exported after somebody has asked once keeps none for as long
// as the process lives. The manager's type is not exported, its field is.
func countAlone(manager cache.Manager, notes *metadata.Store) error {
	field := reflect.Indirect(reflect.ValueOf(manager)).FieldByName("PruneRefChecker")
	if !field.IsValid() || !field.CanSet() || field.Type() != reflect.TypeFor[cache.ExternalRefCheckerFunc]() {
		return fmt.Errorf("BuildKit's cache %T does not say how it knows what images hold", manager)
	}
	before := field.Interface().(cache.ExternalRefCheckerFunc)
	field.Set(reflect.ValueOf(cache.ExternalRefCheckerFunc(func() (cache.ExternalRefChecker, error) {
		c, err := before()
		return exportedOnly{c, notes}, err
	})))
	return nil
}

// exportedOnly knows that what has no layer is in no image.
type exportedOnly struct {
	cache.ExternalRefChecker
	notes *metadata.Store
}

func (c exportedOnly) Exists(key string, layers []digest.Digest) bool {
	if slices.Contains(layers, "") {
		layers = c.layers(key)
	}
	return !slices.Contains(layers, "") && c.ExternalRefChecker.Exists(key, layers)
}

// layers are those of a record and of what it lies on, "" for what has none yet.
// Source: buildkit, cache/metadata.go.
func (c exportedOnly) layers(id string) (out []digest.Digest) {
	for id != "" {
		record, ok := c.notes.Get(id)
		if !ok {
			return []digest.Digest{""}
		}
		out = append(out, digest.Digest(note(record, "cache.blob")))
		id = note(record, "cache.parent")
	}
	slices.Reverse(out)
	return out
}

func note(record *metadata.StorageItem, key string) (text string) {
	if v := record.Get(key); v == nil || v.Unmarshal(&text) != nil {
		return ""
	}
	return text
}
