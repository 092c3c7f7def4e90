package project

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLinksGiveNamesOnSharedNetworks(t *testing.T) {
	dir := write(t, `-- compose.yaml --
name: shop
services:
  web:
    image: nginx
    links: ["db:store", "cache", "db:db", "db:main"]
    networks: [front, back]
  db: {image: postgres, networks: [back]}
  cache: {image: redis, networks: [front]}
networks: {front: {}, back: {}}
-- apart.yaml --
name: shop
services:
  web: {image: nginx, links: ["db:store"], networks: [front]}
  db: {image: postgres, networks: [back]}
networks: {front: {}, back: {}}
`)
	p, _, err := tryLoad(dir, Options{Files: []string{filepath.Join(dir, "compose.yaml")}})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := p.Service("web")
	for _, a := range web.Networks {
		var want []string
		if a.Network == "back" {
			want = []string{"db:store", "db:main"}
		}
		if !slices.Equal(a.Settings.Links, want) {
			t.Errorf("links on %s: %v, want %v", a.Network, a.Settings.Links, want)
		}
	}
	_, _, err = tryLoad(dir, Options{Files: []string{filepath.Join(dir, "apart.yaml")}})
	if err == nil || !strings.Contains(err.Error(), `apart.yaml:3:31: service "web": link "db:store": service "db" is on no network of this service`) {
		t.Errorf("a link without a network: %v", err)
	}
}
