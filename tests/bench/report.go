package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one line of the table. The texts stand as they are printed.
type row struct {
	what, value, spread, floor, ratio, budget string
	over                                      bool
}

type report struct{ rows []row }

func (r *report) add(row row) { r.rows = append(r.rows, row) }

// timed adds a duration beside the floor's. A budget of 0 is none.
func (r *report) timed(what string, took, floor []time.Duration, budget float64) {
	mid, low := median(took), median(floor)
	ratio := float64(mid) / float64(low)
	line := row{what: what, value: millis(mid), spread: spread(took, millis), floor: millis(low), ratio: fmt.Sprintf("%.2f", ratio)}
	if budget > 0 {
		line.budget, line.over = fmt.Sprintf("≤ %.1f × floor", budget), ratio > budget
	}
	r.add(line)
}

// bounded adds a figure with a bound of its own. A budget of 0 is none.
func bounded[T cmp.Ordered](r *report, what string, values []T, show func(T) string, budget T) {
	var zero T
	mid := median(values)
	line := row{what: what, value: show(mid), spread: spread(values, show)}
	if budget != zero {
		line.budget, line.over = "≤ "+show(budget), mid > budget
	}
	r.add(line)
}

func (r *report) over() (n int) {
	for _, l := range r.rows {
		if l.over {
			n++
		}
	}
	return n
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tmedian\tquartiles\tfloor\tratio\tbudget\t")
	for _, l := range r.rows {
		verdict := ""
		if l.budget != "" {
			verdict = map[bool]string{false: "ok", true: "OVER"}[l.over]
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.what, l.value, l.spread, l.floor, l.ratio, l.budget, verdict)
	}
	return t.Flush()
}

// median is the middle value, the lower one of two.
func median[T cmp.Ordered](v []T) T {
	s := slices.Sorted(slices.Values(v))
	return s[(len(s)-1)/2]
}

// spread shows the quartiles, by nearest rank.
func spread[T cmp.Ordered](v []T, show func(T) string) string {
	s := slices.Sorted(slices.Values(v))
	return show(s[(len(s)-1)/4]) + " – " + show(s[len(s)-1-(len(s)-1)/4])
}

func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
}

// megabytes shows kibibytes, as the kernel counts, in millions of bytes.
func megabytes(kib int) string { return fmt.Sprintf("%.1f MB", float64(kib)*1024/1e6) }
