// Package spout is a spout of Apache Storm that reads MetaQ: the process that a ShellSpout of a topology starts, and talks to over pipes in Storm's multilang
// protocol. Command metaq runs it as `metaq spout`.
//
// Storm asks for tuples and says which of them have been dealt with; it has one thread for that, which waits for each answer. So nothing here waits for a broker
// while Storm waits: a goroutine takes messages from the client ahead of Storm (intake), package state (inFlight) says what is where, and commands only look at it. The
// client commits the offset before the first message of a partition that is not acknowledged.
package spout
