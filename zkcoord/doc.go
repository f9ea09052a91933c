// Package zkcoord is all that the project does with ZooKeeper: the tree of Metamorphosis 1.4.6, the connection, what a broker or a consumer
// keeps registered, and what it watches. The broker and the client use it; nothing else imports the ZooKeeper library.
//
// # The tree
//
// Layout and the types beside it (Replica, Partition, TopicNode, Offset) say how nodes are named and what is in them, so that programs
// written for Metamorphosis and ours understand each other. They are pure functions.
//
// # The connection
//
// A Session is a connection that is opened again for as long as it is wanted. It is Connected, Suspended (no server answers, the ephemeral nodes are
// there yet) or Lost (they may be gone). Lost comes from a clock of our own, two thirds of the session's time-out after the last request was sent that the server has
// answered, because a client that is cut off is never told. When the answer was read counts for nothing: the process may have been stopped before. Whoever must not act on what others may own by now stops there. Every request takes a context and ends with it;
// whether a write that ended so has happened is not known.
//
// A Registrar keeps ephemeral nodes as they are wanted: it makes them again in each new session, and removes those that an earlier session of
// ours has left. A Watch tells that a node or its children may have changed since the last look, and forgets nothing: whoever is told
// reads anew. After an outage it looks by itself, because the library may not have been told of everything.
package zkcoord
