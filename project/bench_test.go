package project

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// manyServices writes a compose file of n services with the keys that most
// have.
func manyServices(tb testing.TB, n int) string {
	tb.Helper()
	var b strings.Builder
	b.WriteString("services:\n")
	for i := range n {
		fmt.Fprintf(&b, `  svc%d:
    image: busybox:${TAG:-latest}
    command: ["sleep", "infinity"]
    environment:
      INDEX: "%d"
      MODE: production
    ports: ["%d:80"]
    volumes: ["data:/data", "./conf:/etc/conf:ro"]
    restart: unless-stopped
    healthcheck: {test: ["CMD", "true"], interval: 5s}
`, i, i, 20000+i)
		if i > 0 {
			fmt.Fprintf(&b, "    depends_on: {svc%d: {condition: service_healthy}}\n", i-1)
		}
	}
	b.WriteString("volumes: {data: {}}\n")
	file := filepath.Join(tb.TempDir(), "compose.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
	return file
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1, 30, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			file := manyServices(b, n)
			for b.Loop() {
				if _, _, err := Load(context.Background(), Options{Files: []string{file}, Environment: []string{}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
