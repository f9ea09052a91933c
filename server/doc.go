// Package server is the broker: it takes connections, runs the commands of the protocol against a store, and has a second port for health,
// metrics, profiles and clients that speak HTTP. package main and client/metaqtest are its callers.
//
// # Who runs what
//
//	accept.go   one goroutine takes connections and refuses those beyond a bound, with an answer
//	engine.go   gnet's event loops read the sockets; plain.go does the same with one goroutine a connection
//	loop.go     everything about a connection happens on its loop; other goroutines post tasks to it
//	conn.go     bytes in, commands out; bounds; answers; the end of a connection
//	budget.go   what all connections together may make the broker hold, and who waits for it
//	turn.go     connections with many answers take turns
//	put.go ...  one file a command
//	http.go     the second port; http_messages.go has put, get and offset there
//	cluster.go  the registration in ZooKeeper: goroutines of its own, which nothing else waits for but a stop
//	routes.go   what other brokers have of a topic, asked for by route
//	worker.go   what may block (cold reads, seek by time, large listings) runs on a few goroutines, one command a connection
//
// # The way of a put
//
// The puts that came with one read are collected in the loop's batch, appended with one call and answered with one write. If their topic
// waits for the flush the answers are made at once, kept, and written when the store calls back. Any other command first appends what is
// collected, so a connection's commands take effect in the order in which they came.
//
// # What it promises
//
// Every command with a readable opaque gets one answer, also when it fails, is refused or panics. What need not wait is answered in order; what
// waits (group commit, long poll, cold reads) may be overtaken. Every queue, buffer and wait has a bound with a name in limits.go; past
// it one command or one connection is refused, never the process. Running out of file descriptors stops nothing but new connections.
package server
