package scheduler

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"
)

// rank orders steps that could run at the same time, so that a plan reads from
// images over networks and volumes to services, and is the same every time.
type rank [4]int

// Groups of steps: the first number of a rank.
const (
	groupOrphans = iota
	groupImages
	groupNetworks
	groupVolumes
	groupServices
	groupCleanup
)

// node is a step of a draft, before it has a number.
type node struct {
	Step
	rank  rank
	needs []edge
	order int
}

type edge struct {
	to       *node
	tolerate bool
}

// need makes n wait for each of others; nil ones are no step at all.
func (n *node) need(others ...*node) { n.link(others, false) }

// after makes n wait for others to end, however they end.
func (n *node) after(others ...*node) { n.link(others, true) }

func (n *node) link(others []*node, tolerate bool) {
	if n == nil {
		return
	}
	for _, o := range others {
		if o == nil || o == n {
			continue
		}
		i := slices.IndexFunc(n.needs, func(e edge) bool { return e.to == o })
		if i < 0 {
			n.needs = append(n.needs, edge{o, tolerate})
		} else if !tolerate {
			n.needs[i].tolerate = false
		}
	}
}

// draft collects steps in any order.
type draft struct{ nodes []*node }

func (d *draft) add(r rank, a Action, cause string) *node {
	n := &node{Step: Step{Action: a, Cause: cause}, rank: r}
	d.nodes = append(d.nodes, n)
	return n
}

// ready is a heap of the nodes whose needs are all placed.
type ready []*node

func (r ready) Len() int           { return len(r) }
func (r ready) Less(i, j int) bool { return r[i].order < r[j].order }
func (r ready) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ready) Push(x any)        { *r = append(*r, x.(*node)) }
func (r *ready) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}

// plan numbers the steps in the one topological order that keeps closest to
// their ranks.
func (d *draft) plan(name string, warnings []string) (*Plan, error) {
	slices.SortStableFunc(d.nodes, func(a, b *node) int { return slices.Compare(a.rank[:], b.rank[:]) })
	blocks := make(map[*node][]*node, len(d.nodes))
	open := make(map[*node]int, len(d.nodes))
	var queue ready
	for i, n := range d.nodes {
		n.order = i
		open[n] = len(n.needs)
		for _, e := range n.needs {
			blocks[e.to] = append(blocks[e.to], n)
		}
		if len(n.needs) == 0 {
			queue = append(queue, n)
		}
	}
	plan := &Plan{Project: name, Steps: make([]Step, 0, len(d.nodes)), Warnings: warnings}
	above := make([]bits, 0, len(d.nodes)) // by step: the steps that must have succeeded before it
	for queue.Len() > 0 {
		n := heap.Pop(&queue).(*node)
		n.ID = len(plan.Steps)
		above = append(above, n.number(above, len(d.nodes)))
		plan.Steps = append(plan.Steps, n.Step)
		for _, m := range blocks[n] {
			if open[m]--; open[m] == 0 {
				heap.Push(&queue, m)
			}
		}
	}
	if len(plan.Steps) < len(d.nodes) {
		var stuck []string
		for _, n := range d.nodes {
			if open[n] > 0 {
				stuck = append(stuck, n.Step.what())
			}
		}
		return nil, fmt.Errorf("project %q: these steps wait for each other: %s", name, strings.Join(stuck, ", "))
	}
	return plan, nil
}

// number fills in the step's needs, less those that another need has already,
// and returns all steps that must have succeeded before it.
func (n *node) number(above []bits, total int) bits {
	slices.SortFunc(n.needs, func(a, b edge) int { return b.to.ID - a.to.ID }) // nearest first
	mine := make(bits, (total+63)/64)
	for _, e := range n.needs {
		if e.tolerate || mine.has(e.to.ID) {
			continue
		}
		n.Needs = append(n.Needs, e.to.ID)
		mine.set(e.to.ID)
		mine.join(above[e.to.ID])
	}
	for _, e := range n.needs {
		if e.tolerate && !mine.has(e.to.ID) {
			n.Needs = append(n.Needs, e.to.ID)
			n.Tolerate = append(n.Tolerate, e.to.ID)
		}
	}
	slices.Sort(n.Needs)
	slices.Sort(n.Tolerate)
	return mine
}

// bits is a set of step numbers.
type bits []uint64

func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) join(o bits) {
	for i := range o {
		b[i] |= o[i]
	}
}

// sorted returns m's keys in order.
func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
