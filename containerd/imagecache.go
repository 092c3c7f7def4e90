package containerd

import (
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageCache remembers images until one is named, renamed or removed, and what
// was read of their contents, which never change under their digest, for ever.
// The zero value is empty.
type imageCache struct {
	mu         sync.Mutex
	generation int
	all        *listing          // nil when not known
	byRef      map[string]*Image // answers to references asked for
	byManifest map[string]*Image // key: digest
	byIndex    map[string][]ocispec.Descriptor
}

// changed forgets which images there are.
func (c *imageCache) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.all, c.byRef = nil, nil
}

// removed forgets contents too, which may be gone.
func (c *imageCache) removed() {
	c.changed()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byManifest, c.byIndex = nil, nil
}

func (c *imageCache) list() (all *listing, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all, c.generation
}

func (c *imageCache) keep(all *listing, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation {
		c.all = all
	}
}

func (c *imageCache) answer(ref string) *Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byRef[ref]
}

func (c *imageCache) keepAnswer(ref string, img *Image, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return
	}
	if c.byRef == nil {
		c.byRef = map[string]*Image{}
	}
	c.byRef[ref] = img
}

func (c *imageCache) manifest(digest string) *Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byManifest[digest]
}

func (c *imageCache) keepManifest(digest string, img *Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byManifest == nil {
		c.byManifest = map[string]*Image{}
	}
	c.byManifest[digest] = img
}

func (c *imageCache) index(digest string) []ocispec.Descriptor {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byIndex[digest]
}

func (c *imageCache) keepIndex(digest string, manifests []ocispec.Descriptor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byIndex == nil {
		c.byIndex = map[string][]ocispec.Descriptor{}
	}
	c.byIndex[digest] = manifests
}
