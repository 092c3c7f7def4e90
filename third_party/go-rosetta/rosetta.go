// Package rosetta stands in for the module of the same name, which the module
// proxy does not serve. The docker CLI asks it one thing, which is only ever
// true on macOS; Gantry runs on Linux.
package rosetta

// Enabled says whether programs run under Apple's Rosetta translation.
func Enabled() bool { return false }
