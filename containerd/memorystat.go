package containerd

import (
	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
)

// detailV1 is memory.stat of cgroup v1. Source: cgroup-v1/memory.rst; nil
// without the memory controller.
func detailV1(m *v1.MemoryStat) map[string]uint64 {
	if m == nil {
		return nil
	}
	return map[string]uint64{
		"cache":                     m.Cache,
		"rss":                       m.RSS,
		"rss_huge":                  m.RSSHuge,
		"mapped_file":               m.MappedFile,
		"dirty":                     m.Dirty,
		"writeback":                 m.Writeback,
		"pgpgin":                    m.PgPgIn,
		"pgpgout":                   m.PgPgOut,
		"pgfault":                   m.PgFault,
		"pgmajfault":                m.PgMajFault,
		"inactive_anon":             m.InactiveAnon,
		"active_anon":               m.ActiveAnon,
		"inactive_file":             m.InactiveFile,
		"active_file":               m.ActiveFile,
		"unevictable":               m.Unevictable,
		"hierarchical_memory_limit": m.HierarchicalMemoryLimit,
		"hierarchical_memsw_limit":  m.HierarchicalSwapLimit,
		"total_cache":               m.TotalCache,
		"total_rss":                 m.TotalRSS,
		"total_rss_huge":            m.TotalRSSHuge,
		"total_mapped_file":         m.TotalMappedFile,
		"total_dirty":               m.TotalDirty,
		"total_writeback":           m.TotalWriteback,
		"total_pgpgin":              m.TotalPgPgIn,
		"total_pgpgout":             m.TotalPgPgOut,
		"total_pgfault":             m.TotalPgFault,
		"total_pgmajfault":          m.TotalPgMajFault,
		"total_inactive_anon":       m.TotalInactiveAnon,
		"total_active_anon":         m.TotalActiveAnon,
		"total_inactive_file":       m.TotalInactiveFile,
		"total_active_file":         m.TotalActiveFile,
		"total_unevictable":         m.TotalUnevictable,
	}
}

// detailV2 is memory.stat of cgroup v2. Source: cgroup-v2.rst; nil without the
// memory controller.
func detailV2(m *v2.MemoryStat) map[string]uint64 {
	if m == nil {
		return nil
	}
	return map[string]uint64{
		"anon":                   m.Anon,
		"file":                   m.File,
		"kernel_stack":           m.KernelStack,
		"slab":                   m.Slab,
		"sock":                   m.Sock,
		"shmem":                  m.Shmem,
		"file_mapped":            m.FileMapped,
		"file_dirty":             m.FileDirty,
		"file_writeback":         m.FileWriteback,
		"anon_thp":               m.AnonThp,
		"inactive_anon":          m.InactiveAnon,
		"active_anon":            m.ActiveAnon,
		"inactive_file":          m.InactiveFile,
		"active_file":            m.ActiveFile,
		"unevictable":            m.Unevictable,
		"slab_reclaimable":       m.SlabReclaimable,
		"slab_unreclaimable":     m.SlabUnreclaimable,
		"pgfault":                m.Pgfault,
		"pgmajfault":             m.Pgmajfault,
		"workingset_refault":     m.WorkingsetRefault,
		"workingset_activate":    m.WorkingsetActivate,
		"workingset_nodereclaim": m.WorkingsetNodereclaim,
		"pgrefill":               m.Pgrefill,
		"pgscan":                 m.Pgscan,
		"pgsteal":                m.Pgsteal,
		"pgactivate":             m.Pgactivate,
		"pgdeactivate":           m.Pgdeactivate,
		"pglazyfree":             m.Pglazyfree,
		"pglazyfreed":            m.Pglazyfreed,
		"thp_fault_alloc":        m.ThpFaultAlloc,
		"thp_collapse_alloc":     m.ThpCollapseAlloc,
	}
}
