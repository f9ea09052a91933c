//go:build mutants

package fault

import "os"

var mutant = os.Getenv("BROKER_MUTANT")

// Mutant says whether the mistake of this name is to be made.
func Mutant(name string) bool { return name == mutant }
