// Package hostile holds the tests in which clients misbehave or the broker gets too little: slow readers, floods, half commands, pipelines that
// nobody reads, mutated sessions, little memory, and being stopped or reloaded in the middle of work. They run the real binary.
//
// Each test shows that its fault has happened, that clients which behave are served all the while, and what the fault costs in memory.
package hostile
