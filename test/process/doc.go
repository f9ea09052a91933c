// Package process runs the real metaq binary for tests that need a broker in a process of its own: one that can be
// killed, restarted on the same data and talked to over the network. Tests that only need a broker to talk to are better
// served by client/metaqtest.
//
// A test package that uses it builds the binary once and removes it at its end:
//
//	func TestMain(m *testing.M) { os.Exit(process.Main(m)) }
package process
