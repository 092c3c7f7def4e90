package containerd

import "sync"

// imageCache remembers images until one is named, renamed or removed, and what
// was read of their contents, which never change under their digest, for ever.
// The zero value is empty.
type imageCache struct {
	mu         sync.Mutex
	generation int
	all        []*Image          // nil when not known
	byRef      map[string]*Image // answers to references asked for
	byTarget   map[string]*Image // key: target digest and platform asked for
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
	c.byTarget = nil
}

func (c *imageCache) list() (all []*Image, generation int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all, c.generation
}

func (c *imageCache) keep(all []*Image, generation int) {
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

func (c *imageCache) content(key string) *Image {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byTarget[key]
}

func (c *imageCache) keepContent(key string, img *Image) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byTarget == nil {
		c.byTarget = map[string]*Image{}
	}
	c.byTarget[key] = img
}
