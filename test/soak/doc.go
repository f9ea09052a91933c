// Package soak runs the real broker for minutes at its highest rate, with what otherwise happens once an hour every few seconds:
// retention, segments that fill, checkpoints, reloads, new topics, waves of connections. What a broker holds on to must not grow by it:
// the slopes of goroutines, files, mappings and memory are measured, and each has a limit.
package soak
