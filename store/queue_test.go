package store

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/store/vfs"
)

// Very many gets may wait for one partition, and their time may be over all at once: none of them costs more for the others.
func TestWatch_ManyEndAtOnce(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	const watchers = 300_000
	cancels := make([]func(), watchers)
	for i := range cancels {
		cancels[i] = q.Watch(0, func() {})
	}
	began := time.Now()
	for _, cancel := range cancels {
		cancel()
	}
	if took := time.Since(began); took > patience {
		t.Errorf("%d watchers were forgotten in %s", watchers, took)
	}
}

// Who is cancelled, in any order and also twice, is not told, and all others are told once.
func TestWatch_CancelledInAnyOrder(t *testing.T) {
	s := mustOpen(t, testOptions(vfs.NewMem(), groupCommit))
	q := mustQueue(t, s, "t", 0)
	const watchers = 200
	var told [watchers]atomic.Int64
	var cancels [watchers]func()
	for i := range watchers {
		cancels[i] = q.Watch(int64(i%2)*30, func() { told[i].Add(1) })
	}
	cancelled := map[int]bool{}
	cancel := func() {
		for _, i := range rand.Perm(watchers)[:watchers/4] {
			cancels[i]()
			cancels[i]()
			cancelled[i] = told[i].Load() == 0
		}
	}
	await := func(step int) {
		eventually(t, "all others are told", func() bool {
			for i := 0; i < watchers; i += step {
				if !cancelled[i] && told[i].Load() != 1 {
					return false
				}
			}
			return true
		})
	}
	cancel()
	put(t, s, q, "x") // ends at 21: those of even numbers
	await(2)
	cancel()
	put(t, s, q, "yyyyyyyyyy")
	await(1)
	for i := range told {
		if cancelled[i] && told[i].Load() != 0 {
			t.Errorf("watcher %d is told after it was cancelled", i)
		}
	}
	if n := len(q.watchers); n != 0 {
		t.Errorf("%d watchers are kept", n)
	}
}
