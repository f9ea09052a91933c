package zkcoord

import (
	"encoding/binary"
	"io"
	"log/slog"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/metaq/metaq/test/zookeeper"
)

// forgetful is a way to a server that says of a client who asks, after an outage, to be told of what it has missed, that it has seen everything: as the library says it
// when an answer comes over the new connection before the request is made.
func forgetful(t *testing.T, server string) (addr string, asked <-chan struct{}) {
	t.Helper()
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	requests := make(chan struct{}, 100)
	var off sync.WaitGroup
	off.Go(func() {
		for {
			client, err := listen.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			off.Go(func() {
				_, _ = io.Copy(client, to)
				client.Close()
			})
			off.Go(func() {
				defer to.Close()
				for first := true; ; first = false {
					head := make([]byte, 4)
					if _, err := io.ReadFull(client, head); err != nil {
						return
					}
					body := make([]byte, binary.BigEndian.Uint32(head))
					if _, err := io.ReadFull(client, body); err != nil {
						return
					}
					const setWatches = 101
					if !first && binary.BigEndian.Uint32(body[4:]) == setWatches {
						binary.BigEndian.PutUint64(body[8:], math.MaxInt64)
						requests <- struct{}{}
					}
					if _, err := to.Write(append(head, body...)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listen.Close()
		off.Wait()
	})
	return listen.Addr().String(), requests
}

// A change that nobody was told of, because it fell into an outage, is seen all the same: of data, of children, and of nodes that come.
func TestWatch_AnEventIsMissing(t *testing.T) {
	z := zookeeper.Start(t)
	other, ctx := connect(t, z), within(t)
	must(t, other.Create(ctx, "/w/data", []byte("before"), Persistent))
	must(t, other.Create(ctx, "/w/children/one", nil, Persistent))
	through, asked := forgetful(t, z.Addr)
	line := zookeeper.NewLine(t, through)
	s, err := Connect(Config{Connect: line.Addr, SessionTimeout: patience, Log: testLog(t), lookAgain: 50 * time.Millisecond})
	must(t, err)
	t.Cleanup(s.Close)
	data, children, comes := s.WatchData("/w/data"), s.WatchChildren("/w/children"), s.WatchData("/w/comes")
	for _, w := range []*Watch{data, children, comes} {
		_, err := w.Await(ctx)
		must(t, err)
	}
	before, _ := s.Status()
	line.Cut()
	awaitStatus(t, s, "the outage is noticed", is(Suspended))
	_, err = other.Set(ctx, "/w/data", []byte("after"), AnyVersion)
	must(t, err)
	must(t, other.Create(ctx, "/w/children/two", nil, Persistent))
	must(t, other.Create(ctx, "/w/comes", nil, Persistent))
	line.Mend()
	if after := awaitStatus(t, s, "the outage is over", is(Connected)); after.ID != before.ID {
		t.Fatalf("session %x is not the one before, %x", after.ID, before.ID)
	}
	select {
	case <-asked:
	case <-ctx.Done():
		t.Fatal("the library does not ask for what it has missed")
	}
	until(t, "the data, the child and the node are seen", func() bool {
		d, _ := data.Node()
		c, _ := children.Node()
		n, _ := comes.Node()
		return string(d.Data) == "after" && slices.Equal(c.Children, []string{"one", "two"}) && n.Exists
	})
	// From then on changes are told as they happen.
	_, err = other.Set(ctx, "/w/data", []byte("later"), AnyVersion)
	must(t, err)
	until(t, "the next change is seen", func() bool {
		d, _ := data.Node()
		return string(d.Data) == "later"
	})
}

// told is a log.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *told) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *told) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Whoever follows a node that ZooKeeper does not let it read is told why nothing comes.
func TestWatch_ANodeThatMayNotBeRead(t *testing.T) {
	z := zookeeper.Start(t)
	var text told
	s, err := Connect(Config{Connect: z.Addr, SessionTimeout: sessionTime, Log: slog.New(slog.NewTextHandler(&text, nil))})
	must(t, err)
	t.Cleanup(s.Close)
	must(t, s.Await(within(t)))
	_, err = s.library().Create("/closed", nil, 0, zk.WorldACL(zk.PermAdmin))
	must(t, err)
	w := s.WatchChildren("/closed")
	defer w.Close()
	until(t, "it is told", func() bool {
		return strings.Contains(text.String(), "/closed") && strings.Contains(text.String(), zk.ErrNoAuth.Error())
	})
	_, err = s.library().SetACL("/closed", zk.WorldACL(zk.PermAll), -1)
	must(t, err)
	_, err = w.Await(within(t))
	must(t, err)
}
