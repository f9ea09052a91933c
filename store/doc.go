// Package store is the log of a broker: one sequence of segment files that holds every message of every topic, every change of a queue
// and every committed offset as frames (FORMAT.md draws them), and the queues, which are indexes over it.
//
// The server calls it; it knows no sockets. What it promises:
//
//   - What Append has returned for survives a killed process. What Acked is true for survives a power cut, if the topic's rule is group
//     commit; with a flush by count or interval the loss is bounded by Options.MaxUnflushed, and after a power cut such a queue goes on
//     beyond every offset that can have been served.
//   - A reader sees a message when it counts as acknowledged, not before, and an offset gives the same bytes until retention removes it.
//   - A write or fsync that fails is never retried as if nothing had happened: the log takes no more writes, reads go on.
//   - Damage is named, never cut silently. Only the torn end of a crash is cut, and kept aside.
//
// What it does not do: it does not check who may read or write, refuse puts to a closed queue, or talk to replicas.
//
// The write path and recovery use package vfs only, so that tests can cut the power, fail any call and see the order of all of them.
package store
