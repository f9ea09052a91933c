//go:build !mutants

package fault

// Mutant is false in this build, for all names.
func Mutant(string) bool { return false }
