package zkcoord

import (
	"errors"
	"fmt"
	"sync"
)

// maxEphemerals bounds what a session leaves to ZooKeeper to clean up: the paths of its ephemeral nodes, in bytes, each with the 4 that tell its length.
// Since 3.6 a server writes all of them down as one transaction when the session ends, however large that is, and cannot read one of more than 2 MiB
// (jute.maxbuffer, and the same again) when it starts the next time: it never starts again (ZOOKEEPER-4306). A topic of a broker takes 130 bytes or more.
const maxEphemerals = 3 << 19

// ErrSessionFull is wrapped when more ephemeral nodes would be a danger for ZooKeeper, see maxEphemerals. Nothing was sent.
var ErrSessionFull = errors.New("zookeeper: too many nodes for one session")

// ephemerals are the nodes that go with a session.
type ephemerals struct {
	mu      sync.Mutex
	session int64
	paths   map[string]struct{} // guarded by mu
	bytes   int                 // guarded by mu
}

func ephemeralSize(path string) int { return len(path) + 4 }

// enter counts nodes that are about to be made in a session, and returns those that were not counted before. They are counted all, or none with an error.
func (e *ephemerals) enter(session int64, paths ...string) (entered []string, err error) {
	if len(paths) == 0 {
		return nil, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.session != session || e.paths == nil {
		e.session, e.paths, e.bytes = session, map[string]struct{}{}, 0
	}
	bytes := e.bytes
	for _, p := range paths {
		if _, known := e.paths[p]; !known {
			entered = append(entered, p)
			bytes += ephemeralSize(p)
		}
	}
	if bytes > maxEphemerals {
		return nil, fmt.Errorf("%w: their paths would have %d bytes, and from 2 MiB on ZooKeeper does not start again once the session is over, so at most %d are made; "+
			"have fewer topics on this broker, or partitions for this consumer, or shorter names", ErrSessionFull, bytes, maxEphemerals)
	}
	for _, p := range entered {
		e.paths[p] = struct{}{}
	}
	e.bytes = bytes
	return entered, nil
}

// leave forgets nodes that are not there, or were not made.
func (e *ephemerals) leave(paths ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range paths {
		if _, known := e.paths[p]; known {
			delete(e.paths, p)
			e.bytes -= ephemeralSize(p)
		}
	}
}
