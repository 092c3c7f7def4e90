// Package heap lets the heap of a command line grow before it is collected.
//
// A command ends soon, and collecting while packages are initialised and a
// project is loaded takes a quarter of its CPU time. Packages are initialised
// in the order of their paths as far as imports allow (Go specification,
// "Program initialization"), so this one, which imports next to nothing, comes
// before the large ones.
package heap

import (
	"os"
	"runtime/debug"
)

const percent = 400

var before = grow()

func grow() int {
	if os.Getenv("GOGC") != "" {
		return -1
	}
	return debug.SetGCPercent(percent)
}

// Restore sets Go's default again, for a process that stays.
func Restore() {
	if before >= 0 {
		debug.SetGCPercent(before)
	}
}
