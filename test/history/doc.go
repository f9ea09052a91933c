// Package history holds what a run of a fault test has seen, and judges it.
//
// A history is a file of JSON lines, compressed with gzip: a header, then one event a line, in the order in which they happened. Everybody
// who works on the broker writes into the one file: writers, readers, whoever commits offsets, and the one who makes the faults. An
// operation is two events, "invoke" and one of
//
//	ok    it was done, and the answer says what came of it
//	fail  it was certainly not done
//	info  nobody knows: the connection ended before the answer
//
// Time is the order of the lines: an invoke is written before the request is sent, an ok after its answer is here. So an operation that
// ended before another one began does so in the file too, and what overlaps in the file may or may not have overlapped.
//
// A run directory holds the history and what belongs to it: the broker's configuration and log, and the verdict.
//
// Judge reads a history once, with memory for each message that was put. Each kind of fault has a check of its own, see Checks;
// testdata holds hand-made histories that each of them has to convict. `go run ./test/history/judge DIR` judges a run directory again.
package history
