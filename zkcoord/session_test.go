package zkcoord

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/test/zookeeper"
)

// patience bounds every wait of a test.
const patience = 30 * time.Second

// sessionTime is what sessions of the tests ask for, within what the server grants.
const sessionTime = 2 * time.Second

func connect(t *testing.T, z *zookeeper.Server) *Session {
	t.Helper()
	s, err := Connect(Config{Connect: z.Addr, SessionTimeout: sessionTime, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func testLog(t *testing.T) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// awaitStatus waits until a session is so.
func awaitStatus(t *testing.T, s *Session, what string, ok func(Status) bool) Status {
	t.Helper()
	for bound := time.After(patience); ; {
		status, changed := s.Status()
		if ok(status) {
			return status
		}
		select {
		case <-changed:
		case <-bound:
			t.Fatalf("not within %s: %s; it is %v", patience, what, status)
		}
	}
}

// until looks often whether something is so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	often := time.NewTicker(5 * time.Millisecond)
	defer often.Stop()
	for bound := time.After(patience); !ok(); {
		select {
		case <-often.C:
		case <-bound:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func is(state State) func(Status) bool { return func(s Status) bool { return s.State == state } }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestSession_NodesComeAndGo(t *testing.T) {
	z := zookeeper.Start(t)
	s, ctx := connect(t, z), within(t)
	must(t, s.Create(ctx, "/a/b/c", []byte("data"), Persistent))
	data, stat, err := s.Get(ctx, "/a/b/c")
	if err != nil || string(data) != "data" || stat.Version != 0 || stat.Owner != 0 || time.Since(stat.Modified) > time.Minute {
		t.Fatalf("%q %+v %v", data, stat, err)
	}
	if err := s.Create(ctx, "/a/b/c", nil, Persistent); !errors.Is(err, ErrNodeExists) {
		t.Errorf("made again: %v", err)
	}
	version, err := s.Set(ctx, "/a/b/c", []byte("more"), 0)
	if err != nil || version != 1 {
		t.Errorf("set: %d, %v", version, err)
	}
	if _, err := s.Set(ctx, "/a/b/c", nil, 0); !errors.Is(err, ErrBadVersion) {
		t.Errorf("set with an old version: %v", err)
	}
	if err := s.Delete(ctx, "/a/b", AnyVersion); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("removed with its children: %v", err)
	}
	must(t, s.Create(ctx, "/a/b/e", nil, Ephemeral))
	names, err := s.Children(ctx, "/a/b")
	slices.Sort(names)
	if err != nil || !slices.Equal(names, []string{"c", "e"}) {
		t.Errorf("children %q, %v", names, err)
	}
	must(t, s.Delete(ctx, "/a/b/c", 1))
	if _, _, err := s.Get(ctx, "/a/b/c"); !errors.Is(err, ErrNoNode) {
		t.Errorf("get of a node that was removed: %v", err)
	}
	s.Close()
	if _, _, err := s.Get(ctx, "/a"); !errors.Is(err, ErrClosed) {
		t.Errorf("get on a closed session: %v", err)
	}
	again := connect(t, z)
	if _, _, err := again.Get(ctx, "/a/b/e"); !errors.Is(err, ErrNoNode) {
		t.Errorf("the ephemeral node of a closed session: %v", err)
	}
}

func TestSession_Chroot(t *testing.T) {
	z := zookeeper.Start(t)
	ctx := within(t)
	s, err := Connect(Config{Connect: z.Addr + "/app/one", SessionTimeout: sessionTime})
	must(t, err)
	defer s.Close()
	must(t, s.Create(ctx, "/meta/x", []byte("1"), Persistent))
	data, _, err := connect(t, z).Get(ctx, "/app/one/meta/x")
	if string(data) != "1" || err != nil {
		t.Errorf("%q %v", data, err)
	}
}

// A server that is away for less than the time-out costs nothing.
func TestSession_ShortOutageKeepsIt(t *testing.T) {
	z := zookeeper.Start(t)
	s, err := Connect(Config{Connect: z.Addr, SessionTimeout: 20 * zookeeper.Tick, Log: testLog(t)}) // long enough for the server to start
	must(t, err)
	t.Cleanup(s.Close)
	ctx := within(t)
	must(t, s.Create(ctx, "/e", nil, Ephemeral))
	before := awaitStatus(t, s, "connected", is(Connected))
	z.Kill(t)
	awaitStatus(t, s, "suspended", is(Suspended))
	z.Restart(t)
	if after := awaitStatus(t, s, "connected again", is(Connected)); after.ID != before.ID {
		t.Errorf("another session after a restart of the server: %#x, %#x", before.ID, after.ID)
	}
	if _, stat, err := s.Get(ctx, "/e"); err != nil || stat.Owner != before.ID {
		t.Errorf("its ephemeral node: %+v %v", stat, err)
	}
}

// Who is cut off is never told that its session is over: it finds out by its own clock, before ZooKeeper can have given the nodes away.
func TestSession_LostByItsOwnClock(t *testing.T) {
	z := zookeeper.Start(t)
	s := connect(t, z)
	before := awaitStatus(t, s, "connected", is(Connected))
	z.Pause(t)
	began := time.Now()
	awaitStatus(t, s, "lost", is(Lost))
	if took := time.Since(began); took > sessionTime {
		t.Errorf("lost after %s, the session is over after %s", took, sessionTime)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := s.Create(ctx, "/x", nil, Ephemeral); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request without a server: %v", err)
	}
	z.Resume(t)
	after := awaitStatus(t, s, "connected again", is(Connected))
	t.Logf("session %#x, then %#x", before.ID, after.ID)
}

// ZooKeeper hears nothing more of a client, and the client gets what its watches tell all the same. That does not make the session last longer than ZooKeeper thinks.
func TestSession_LostAlthoughEventsCome(t *testing.T) {
	z := zookeeper.Start(t)
	line := zookeeper.NewLine(t, z.Addr)
	s, err := Connect(Config{Connect: line.Addr, SessionTimeout: sessionTime, Log: testLog(t)})
	must(t, err)
	t.Cleanup(s.Close)
	other, ctx := connect(t, z), within(t)
	status := awaitStatus(t, s, "connected", is(Connected))
	for i := range watchedNodes {
		w := s.WatchData(watchedNode(i))
		defer w.Close()
		if _, err := w.Await(ctx); err != nil {
			t.Fatal(err)
		}
	}
	line.Hold(zookeeper.ToServer)
	held, came := time.Now(), line.Passed(zookeeper.ToClient)
	often := time.NewTicker(sessionTime / 20)
	defer often.Stop()
	for i := 0; s.Holds(status.ID); i++ {
		must(t, other.Create(ctx, watchedNode(i), nil, Persistent))
		<-often.C
	}
	if took := time.Since(held); took > sessionTime {
		t.Errorf("the session counted for %s after ZooKeeper heard of it last, and ZooKeeper ends it after %s", took, sessionTime)
	}
	if line.Passed(zookeeper.ToClient) == came {
		t.Error("no event has come")
	}
}

const watchedNodes = 40

func watchedNode(i int) string { return fmt.Sprintf("/watched%d", i) }

// A machine that sleeps for longer than the session lasts: its clock has gone on when it wakes. Nothing counts until ZooKeeper has said that the session is there yet.
func TestSession_LostWhenTheMachineHasSlept(t *testing.T) {
	z := zookeeper.Start(t)
	var slept atomic.Int64
	awake := newClock()
	s, err := Connect(Config{Connect: z.Addr, SessionTimeout: sessionTime, Log: testLog(t), clock: func() time.Duration { return awake() + time.Duration(slept.Load()) }})
	must(t, err)
	t.Cleanup(s.Close)
	status := awaitStatus(t, s, "connected", is(Connected))
	if !s.Holds(status.ID) {
		t.Fatal("it does not count while the machine is awake")
	}
	slept.Store(int64(time.Hour))
	if s.Holds(status.ID) {
		t.Error("it counts after an hour")
	}
	until(t, "it counts again, because ZooKeeper has it yet", func() bool { return s.Holds(status.ID) })
}

func TestSession_ExpiredBecomesANewOne(t *testing.T) {
	z := zookeeper.Start(t)
	s, ctx := connect(t, z), within(t)
	before := awaitStatus(t, s, "connected", is(Connected))
	must(t, s.Create(ctx, "/e", nil, Ephemeral))
	z.Kill(t)
	z.Empty(t)
	z.Restart(t)
	after := awaitStatus(t, s, "a new session", func(s Status) bool { return s.State == Connected && s.ID != before.ID })
	if after.ID == 0 {
		t.Errorf("%v", after)
	}
	if _, _, err := s.Get(ctx, "/e"); !errors.Is(err, ErrNoNode) {
		t.Errorf("the ephemeral node in an empty ZooKeeper: %v", err)
	}
}

func TestWatch_SeesEveryLastState(t *testing.T) {
	z := zookeeper.Start(t)
	s, other, ctx := connect(t, z), connect(t, z), within(t)
	data, children := s.WatchData("/w/n"), s.WatchChildren("/w")
	if n, err := data.Await(ctx); err != nil || n.Exists {
		t.Fatalf("%+v %v", n, err)
	}
	awaitNode := func(w *Watch, what string, ok func(Node) bool) {
		t.Helper()
		for {
			if n, known := w.Node(); known && ok(n) {
				return
			}
			select {
			case <-w.Changed():
			case <-ctx.Done():
				n, known := w.Node()
				t.Fatalf("%s: %+v, known %v", what, n, known)
			}
		}
	}
	for round := range 3 {
		must(t, other.Create(ctx, "/w/n", []byte("0"), Persistent))
		for i := range 50 {
			_, err := other.Set(ctx, "/w/n", fmt.Appendf(nil, "%d", i), AnyVersion)
			must(t, err)
		}
		awaitNode(data, "the last data", func(n Node) bool { return n.Exists && string(n.Data) == "49" })
		must(t, other.Create(ctx, fmt.Sprintf("/w/more%d", round), nil, Persistent))
		awaitNode(children, "a new child", func(n Node) bool { return slices.Contains(n.Children, fmt.Sprintf("more%d", round)) })
		if round == 1 { // what happened while it was away shows too
			z.Kill(t)
			z.Restart(t)
		}
		must(t, other.Delete(ctx, "/w/n", AnyVersion))
		awaitNode(data, "that it is gone", func(n Node) bool { return !n.Exists })
		awaitNode(children, "that the child is gone", func(n Node) bool { return !slices.Contains(n.Children, "n") })
	}
	second := s.WatchChildren("/w")
	if n, err := second.Await(ctx); err != nil || len(n.Children) != 3 {
		t.Errorf("a second watch of the same node: %+v %v", n, err)
	}
	second.Close()
	must(t, other.Create(ctx, "/w/last", nil, Persistent))
	awaitNode(children, "the last child, for the first watch", func(n Node) bool { return slices.Contains(n.Children, "last") })
}

// states collects what a Registrar reports.
type states struct {
	mu   sync.Mutex
	list []error
}

func (s *states) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, err)
}

func (s *states) last() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) == 0 {
		return nil
	}
	return s.list[len(s.list)-1]
}

func TestRegistrar_KeepsNodesOverSessions(t *testing.T) {
	z := zookeeper.Start(t)
	s, other, ctx := connect(t, z), connect(t, z), within(t)
	r := NewRegistrar(s, nil)
	defer r.Close()
	r.Set(Registration{Path: "/r/id/master", Data: []byte("here"), Kind: Ephemeral},
		Registration{Path: "/r/id", Data: []byte("here too"), Kind: Persistent, Stage: 1})
	for i := range 300 {
		r.Set(Registration{Path: fmt.Sprintf("/r/topics/t%d", i), Data: []byte("4"), Kind: Ephemeral, Stage: 2})
	}
	must(t, r.Await(ctx))
	check := func(what string) {
		t.Helper()
		status, _ := s.Status()
		for path, want := range map[string]string{"/r/id/master": "here", "/r/id": "here too", "/r/topics/t0": "5", "/r/topics/t299": "4"} {
			data, stat, err := other.Get(ctx, path)
			if err != nil || string(data) != want || stat.Owner != 0 && stat.Owner != status.ID {
				t.Errorf("%s: %s: %q %+v %v, session %#x", what, path, data, stat, err, status.ID)
			}
		}
		if names, err := other.Children(ctx, "/r/topics"); err != nil || len(names) != 300 {
			t.Errorf("%s: %d topics, %v", what, len(names), err)
		}
	}
	r.Set(Registration{Path: "/r/topics/t0", Data: []byte("5"), Kind: Ephemeral, Stage: 2})
	must(t, r.Await(ctx))
	check("in the first session")

	before := awaitStatus(t, s, "connected", is(Connected))
	z.Kill(t)
	z.Empty(t)
	z.Restart(t)
	awaitStatus(t, s, "a new session", func(now Status) bool { return now.State == Connected && now.ID != before.ID })
	watch := other.WatchChildren("/r/topics")
	for n, _ := watch.Await(ctx); len(n.Children) < 300; n, _ = watch.Node() {
		select {
		case <-watch.Changed():
		case <-ctx.Done():
			t.Fatalf("%d topics are there again", len(n.Children))
		}
	}
	check("in an empty ZooKeeper")

	r.Unset("/r/topics/t1")
	must(t, r.Await(ctx))
	if _, _, err := other.Get(ctx, "/r/topics/t1"); !errors.Is(err, ErrNoNode) {
		t.Errorf("a node that is not wanted any more: %v", err)
	}
	must(t, other.Create(ctx, "/r/id/slave0", nil, Persistent))
	must(t, r.Clear(ctx))
	if names, err := other.Children(ctx, "/r/topics"); err != nil || len(names) != 0 {
		t.Errorf("after Clear: %q %v", names, err)
	}
	if data, _, err := other.Get(ctx, "/r/id"); err != nil || len(data) != 0 {
		t.Errorf("a persistent node with somebody else's child: %q %v", data, err)
	}
}

// Somebody else's node is left alone and said so; one that we have left is taken away.
func TestRegistrar_TakenNodes(t *testing.T) {
	z := zookeeper.Start(t)
	s, other, ctx := connect(t, z), connect(t, z), within(t)
	must(t, other.Create(ctx, "/master", []byte("them"), Ephemeral))
	must(t, other.Create(ctx, "/topics/t", []byte("4"), Ephemeral))
	var seen states
	r := NewRegistrar(s, seen.note)
	defer r.Close()
	mine := func(data []byte, _ int64) bool { return string(data) == "us" }
	r.Set(Registration{Path: "/master", Data: []byte("us"), Kind: Ephemeral, Ours: mine},
		Registration{Path: "/topics/t", Data: []byte("4"), Kind: Ephemeral, Stage: 1, Ours: always})
	var taken *TakenError
	for !errors.As(seen.last(), &taken) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nothing was said about a node that is taken")
		}
	}
	if taken.Path != "/master" || taken.Data != "them" {
		t.Errorf("%v", taken)
	}
	if _, stat, err := other.Get(ctx, "/topics/t"); err != nil || stat.Owner == 0 {
		t.Errorf("%+v %v", stat, err)
	} else if status, _ := s.Status(); stat.Owner == status.ID {
		t.Error("a node of a later stage was taken before the first one stood")
	}
	_, err := other.Set(ctx, "/master", []byte("us"), AnyVersion) // as if an earlier process of ours had left it
	must(t, err)
	must(t, r.Await(ctx))
	status, _ := s.Status()
	for _, path := range []string{"/master", "/topics/t"} {
		if _, stat, err := other.Get(ctx, path); err != nil || stat.Owner != status.ID {
			t.Errorf("%s: %+v %v, session %#x", path, stat, err, status.ID)
		}
	}
	if err := seen.last(); err != nil {
		t.Errorf("the last word is %v", err)
	}
}
