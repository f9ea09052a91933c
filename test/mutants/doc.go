// Package mutants proves the tests themselves: mistakes that were planted in the broker (package store/fault names them) have to be found by
// them. It is test 38 of docs/reliability.md.
package mutants
