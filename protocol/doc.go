// Package protocol is the wire format of MetaQ: requests, responses and stored messages as pure functions over bytes. It imports nothing
// of the project and does no I/O; the broker and the client use the same code. PROTOCOL.md specifies what it reads and writes.
//
// Parsers are incremental: they read one item from the front of a slice and say how many bytes it used, 0 when more are needed. They
// neither copy nor allocate for the frequent commands: what they return are views of the input, valid as long as the input is.
// Encoders append to a slice and return it.
package protocol
