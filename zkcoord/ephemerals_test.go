package zkcoord

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/test/wait"
	"github.com/metaq/metaq/test/zookeeper"
)

// A session may not have so many nodes that ZooKeeper does not start again once it is over. What fits is made, and what does not is told.
func TestSession_EndsWithoutHarmToZooKeeper(t *testing.T) {
	z := zookeeper.Start(t)
	s := connect(t, z)
	awaitStatus(t, s, "connected", is(Connected))
	var seen states
	r := NewRegistrar(s, seen.note)
	defer r.Close()
	var list []Registration
	for i := range 10_000 {
		list = append(list, Registration{Path: fmt.Sprintf("/many/%s-%05d/0-m", strings.Repeat("x", 240), i), Kind: Ephemeral, Stage: 1})
	}
	list = append(list, Registration{Path: "/first", Kind: Ephemeral})
	r.Set(list...)
	wait.Until(t, 5*time.Millisecond, patience, "the nodes are made, or refused", func() bool {
		return errors.Is(seen.last(), ErrSessionFull) || z.Count(t, zookeeper.Ephemerals) == len(list)
	})
	if err := r.Standing(); err == nil || !strings.Contains(err.Error(), "at most 1572864") {
		t.Errorf("it stands: %v, want an error with the limit", err)
	}
	if made := z.Count(t, zookeeper.Ephemerals); made < 5000 || owner(t, s, "/first") == 0 {
		t.Errorf("%d nodes are made, want those that fit, the first stage before all", made)
	}
	r.Close()
	s.Close()
	wait.Until(t, 5*time.Millisecond, patience, "the session is over", func() bool { return z.Count(t, zookeeper.Ephemerals) == 0 })
	z.Kill(t)
	z.Restart(t)
	wait.Until(t, 5*time.Millisecond, patience, "ZooKeeper serves again", func() bool { return z.Count(t, zookeeper.Ephemerals) == 0 })
}

// What is removed makes room, and so does what was not made.
func TestEphemerals_Room(t *testing.T) {
	var e ephemerals
	long := func(i int) string { return fmt.Sprintf("/%s%d", strings.Repeat("x", maxEphemerals/4), i) }
	enter := func(session int64, paths ...string) error {
		_, err := e.enter(session, paths...)
		return err
	}
	must(t, enter(1, long(0), long(1)))
	must(t, enter(1, long(1), long(2)))
	if err := enter(1, "/a", long(3)); !errors.Is(err, ErrSessionFull) {
		t.Errorf("%v, want %v", err, ErrSessionFull)
	}
	must(t, enter(1, "/a"))
	e.leave(long(0), long(0))
	must(t, enter(1, long(3)))
	if err := enter(1, long(0)); !errors.Is(err, ErrSessionFull) {
		t.Errorf("%v, want %v", err, ErrSessionFull)
	}
	must(t, enter(2, long(0)))
}
