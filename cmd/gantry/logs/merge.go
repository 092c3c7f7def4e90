package logs

import (
	"container/heap"
	"errors"
	"io"

	"github.com/hashicorp/go-multierror"
)

// Source yields lines in the order of their time, then io.EOF.
type Source interface {
	Next() (Line, error)
}

// head is the next line of a source.
type head struct {
	line  Line
	from  Source
	order int
}

type heads []head

func (h heads) Len() int { return len(h) }
func (h heads) Less(i, j int) bool {
	if c := h[i].line.Time.Compare(h[j].line.Time); c != 0 {
		return c < 0
	}
	return h[i].order < h[j].order
}
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)   { *h = append(*h, x.(head)) }
func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Merge emits the lines of all sources in the order of their time. A source
// that fails is left out from there on; all errors are returned together.
func Merge(sources []Source, emit func(Line)) error {
	var errs *multierror.Error
	var next heads
	advance := func(s Source, order int) {
		l, err := s.Next()
		switch {
		case err == nil:
			heap.Push(&next, head{l, s, order})
		case !errors.Is(err, io.EOF):
			errs = multierror.Append(errs, err)
		}
	}
	for i, s := range sources {
		advance(s, i)
	}
	for len(next) > 0 {
		h := heap.Pop(&next).(head)
		emit(h.line)
		advance(h.from, h.order)
	}
	return errs.ErrorOrNil()
}
