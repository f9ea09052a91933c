// Package cluster runs the real broker beside a real ZooKeeper: what it registers and when, what stays of it when it stops or is killed, and how it goes on
// when ZooKeeper is away, comes back, or comes back without anything.
package cluster
