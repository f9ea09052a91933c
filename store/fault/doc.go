// Package fault holds the hooks by which tests break the broker on purpose. In a normal build both of them are empty, and the compiler
// leaves nothing of them.
//
// Point names a place where a process may die. Built with the tag "failpoints", the process ends there at once, as by kill -9, when the
// variable BROKER_FAILPOINT names the place: "flush.synced", or "flush.synced@3" for the third time it is reached.
//
// Mutant names a mistake that could have been made here. Built with the tag "mutants", it is made when the variable BROKER_MUTANT names
// it. A suite that does not find the mistakes in test/mutants would not find others either.
package fault
