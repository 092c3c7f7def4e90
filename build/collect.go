package build

import (
	"context"
	"fmt"
	"time"

	"github.com/moby/buildkit/client"
	"golang.org/x/sys/unix"
)

// Parts of the disk, and the most that they mean on a large one in bytes.
const (
	reservedPart, maxReserved = 10, int64(10e9)
	usedPart, maxUsed         = 80, int64(100e9)
	freePart                  = 20
)

// defaultRules are what of the cache goes by itself if nobody says so, on a disk
// of so many bytes: first what is made again most easily, then what is oldest,
// as much as is above the cache's part of the disk or is needed to keep a fifth
// of the disk free. Source: buildkit, cmd/buildkitd/config.
func defaultRules(disk int64) []CacheRules {
	part := func(percent, most int64) int64 { return min(disk/100*percent, most) }
	sizes := CacheRules{ReservedSpace: part(reservedPart, maxReserved), MaxUsedSpace: part(usedPart, maxUsed), MinFreeSpace: disk / 100 * freePart}
	again, old, last := sizes, sizes, sizes
	again.Filters, again.Unused = []string{"type==source.local", "type==exec.cachemount", "type==source.git.checkout"}, 48*time.Hour
	again.ReservedSpace, again.MaxUsedSpace, again.MinFreeSpace = 0, min(512e6, sizes.ReservedSpace), 0
	old.Unused = 60 * 24 * time.Hour
	last.All = true
	return []CacheRules{again, old, sizes, last}
}

// diskSize is the size in bytes of the disk that has a directory.
func diskSize(dir string) (int64, error) {
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("disk of the cache: %w", err)
	}
	return int64(disk.Blocks) * disk.Bsize, nil
}

// Prune implements BuildKit's worker.
func (w worker) Prune(ctx context.Context, gone chan client.UsageInfo, opts ...client.PruneInfo) error {
	defer w.room()()
	return w.Worker.Prune(ctx, gone, opts...)
}

// DiskUsage implements BuildKit's worker, which notes the sizes that it measures.
func (w worker) DiskUsage(ctx context.Context, opt client.DiskUsageInfo) ([]*client.UsageInfo, error) {
	defer w.room()()
	return w.Worker.DiskUsage(ctx, opt)
}

// policy is what BuildKit collects after builds.
func policy(rules []CacheRules) []client.PruneInfo {
	var out []client.PruneInfo
	for _, r := range rules {
		out = append(out, r.info())
	}
	return out
}
