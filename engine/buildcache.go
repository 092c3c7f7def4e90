package engine

import (
	"context"
	"fmt"
	"strconv"

	"gantry/build"

	types "github.com/moby/moby/api/types/build"
	"github.com/moby/moby/api/types/events"
)

// CacheRules say what of the build cache goes.
type CacheRules = build.CacheRules

// ReadCacheFilters reads filters of the build cache into rules.
func ReadCacheFilters(f Filters) (CacheRules, error) { return build.FilterRules(f) }

// PruneBuildCache removes what builds have cached and nobody uses: of it, what
// the filters and the rules leave.
func (e *Engine) PruneBuildCache(ctx context.Context, f Filters, rules CacheRules) (types.CachePruneReport, error) {
	filtered, err := build.FilterRules(f)
	if err != nil {
		return types.CachePruneReport{}, err
	}
	rules.Filters, rules.Unused = filtered.Filters, filtered.Unused
	gone, held, err := e.pruneBuildCache(ctx, rules)
	report := types.CachePruneReport{CachesDeleted: []string{}}
	for _, u := range gone {
		report.CachesDeleted = append(report.CachesDeleted, u.ID)
		if !held[u.ID] {
			report.SpaceReclaimed += uint64(max(0, u.Size))
		}
	}
	if err != nil {
		return report, fmt.Errorf("build cache: %w", err)
	}
	e.emit(events.BuilderEventType, events.ActionPrune, "", map[string]string{"reclaimed": strconv.FormatUint(report.SpaceReclaimed, 10)})
	return report, nil
}

// pruneBuildCache returns what went, and of what was there what images hold, too:
// that has not left the disk.
func (e *Engine) pruneBuildCache(ctx context.Context, rules CacheRules) (gone []*build.CacheRecord, held map[string]bool, err error) {
	if built, err := e.hasBuilt(); err != nil || !built {
		return nil, nil, err
	}
	defer e.room.spend()()
	b, err := e.builder()
	if err != nil {
		return nil, nil, err
	}
	before, err := b.Usage(ctx)
	if err != nil {
		return nil, nil, err
	}
	held = map[string]bool{}
	for _, r := range before {
		held[r.ID] = r.Shared
	}
	gone, err = b.Prune(ctx, rules)
	return gone, held, err
}

// buildCacheUsage counts what builds have cached. What images hold too is not
// counted twice. BuildKit is started to be asked only where it ever ran.
func (e *Engine) buildCacheUsage(ctx context.Context) (*types.DiskUsage, error) {
	if built, err := e.hasBuilt(); err != nil || !built {
		return cacheUsage(nil), err
	}
	b, err := e.builder()
	if err != nil {
		return nil, err
	}
	records, err := b.Usage(ctx)
	if err != nil {
		return nil, err
	}
	return cacheUsage(records), nil
}

func cacheUsage(records []*build.CacheRecord) *types.DiskUsage {
	u := &types.DiskUsage{Items: []types.CacheRecord{}, TotalCount: int64(len(records))}
	for _, r := range records {
		u.Items = append(u.Items, types.CacheRecord{
			ID: r.ID, Parents: r.Parents, Type: string(r.RecordType), Description: r.Description, InUse: r.InUse, Shared: r.Shared,
			Size: r.Size, CreatedAt: r.CreatedAt, LastUsedAt: r.LastUsedAt, UsageCount: r.UsageCount,
		})
		if r.InUse {
			u.ActiveCount++
		}
		if r.Shared {
			continue
		}
		u.TotalSize += r.Size
		if !r.InUse {
			u.Reclaimable += r.Size
		}
	}
	return u
}
