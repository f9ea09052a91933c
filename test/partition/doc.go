// Package partition cuts connections between a real broker, a real ZooKeeper and consumers of a group, each in a network name space of its own: both
// directions or one, for shorter and for longer than the session, while messages come. It takes root and iproute2.
package partition
