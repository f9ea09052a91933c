package vfs

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var errInjected = errors.New("injected")

// failing returns a function for Inject that fails all calls of some kinds.
func failing(err error, kinds ...Kind) func(Op) error {
	return func(op Op) error {
		if slices.Contains(kinds, op.Kind) {
			return err
		}
		return nil
	}
}

func TestInject_FailsEveryKindOfCall(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "abc")
	mapping, err := file.Map(3)
	check(t, err)
	calls := map[Kind]func() error{
		OpCreate:   func() error { return second(m.Create("b")) },
		OpOpen:     func() error { return second(m.Open("a")) },
		OpOpenRead: func() error { return second(m.OpenRead("a")) },
		OpRemove:   func() error { return m.Remove("a") },
		OpRename:   func() error { return m.Rename("a", "b") },
		OpList:     func() error { return second(m.List(".")) },
		OpMkdirAll: func() error { return m.MkdirAll("d") },
		OpSyncDir:  func() error { return m.SyncDir(".") },
		OpStat:     func() error { return second(m.Stat("a")) },
		OpLock:     func() error { return second(m.Lock("l")) },
		OpFree:     func() error { return third(m.Free(".")) },
		OpReadFile: func() error { return second(m.ReadFile("a")) },
		OpReadAt:   func() error { return second(file.ReadAt(make([]byte, 1), 0)) },
		OpWriteAt:  func() error { return second(file.WriteAt([]byte("x"), 0)) },
		OpSync:     file.Sync,
		OpWriteOut: func() error { return file.WriteOut(0, 1) },
		OpAllocate: func() error { return file.Allocate(9) },
		OpTruncate: func() error { return file.Truncate(0) },
		OpSize:     func() error { return second(file.Size()) },
		OpMap:      func() error { return second(file.Map(1)) },
		OpUnmap:    mapping.Unmap,
	}
	for kind, call := range calls {
		m.Inject(failing(errInjected, kind))
		if err := call(); !errors.Is(err, errInjected) {
			t.Errorf("%s: %v, want the injected error", kind, err)
		}
	}
	m.Inject(nil)
	names, err := m.List(".")
	if err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("failed calls left %v, %v", names, err)
	}
	wantContent(t, m, "a", "abc")
	m.Inject(failing(errInjected, OpClose))
	if err := file.Close(); !errors.Is(err, errInjected) {
		t.Errorf("close: %v", err)
	}
	if _, err := file.Size(); err == nil {
		t.Error("a failed close left the file open")
	}
}

func TestInject_ShortWriteStoresTheBeginning(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "")
	m.Inject(failing(&ShortWrite{N: 2, Err: syscall.ENOSPC}, OpWriteAt))
	n, err := file.WriteAt([]byte("abcd"), 0)
	if n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	wantContent(t, m, "a", "ab")
}

func TestInject_FailedSyncIsNotRepairedByTheNext(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "old")
	check(t, file.Sync())
	check(t, m.SyncDir("."))
	writeAt(t, file, "new", 0)
	m.Inject(failing(errInjected, OpSync))
	if err := file.Sync(); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	m.Inject(nil)
	check(t, file.Sync())
	if found := crashes(t, m, "a"); found["old"] == 0 {
		t.Fatalf("found %v: the pages of the failed sync are safe after the next", found)
	}
	writeAt(t, file, "new", 0)
	check(t, file.Sync())
	wantFound(t, m, "a", "new")
}

// A test may hold a call and look at the disk meanwhile.
func TestInject_MayWaitAndUseTheDisk(t *testing.T) {
	m := NewMem()
	file := create(t, m, "a", "abc")
	entered, leave, synced := make(chan struct{}), make(chan struct{}), make(chan error)
	m.Inject(func(op Op) error {
		if op.Kind == OpSync {
			close(entered)
			<-leave
		}
		return nil
	})
	go func() { synced <- file.Sync() }()
	<-entered
	writeAt(t, file, "xyz", 0)
	wantContent(t, m.KillClone(), "a", "xyz")
	close(leave)
	check(t, <-synced)
}

func TestCalls_AreRecordedInOrder(t *testing.T) {
	m := NewMem()
	check(t, m.MkdirAll("d"))
	m.ForgetCalls()
	file := create(t, m, "d/a.new", "")
	check(t, file.Allocate(100))
	writeAt(t, file, "abc", 7)
	check(t, file.Sync())
	check(t, file.Close())
	check(t, m.Rename("d/a.new", "d/a"))
	check(t, m.SyncDir("d"))
	want := []string{
		"create d/a.new", "allocate d/a.new 100", "writeat d/a.new 7+3", "sync d/a.new", "close d/a.new",
		"rename d/a.new d/a", "syncdir d",
	}
	var got []string
	for _, op := range m.Calls() {
		got = append(got, op.String())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("calls\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSetCapacity_FillsTheDisk(t *testing.T) {
	m := NewMem()
	m.SetCapacity(1000)
	file := create(t, m, "a", "")
	check(t, file.Allocate(900))
	if err := file.Allocate(1001); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Allocate beyond the capacity: %v", err)
	}
	check(t, file.Allocate(1000))
	check(t, file.Truncate(990))
	n, err := file.WriteAt(bytes.Repeat([]byte("x"), 20), 985)
	if n != 15 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("WriteAt over the capacity = %d, %v", n, err)
	}
	free, total, err := m.Free(".")
	if free != 0 || total != 1000 || err != nil {
		t.Fatalf("Free = %d of %d, %v", free, total, err)
	}
	check(t, m.Remove("a"))
	if free, _, err := m.Free("."); free != 1000 || err != nil {
		t.Fatalf("Free after Remove = %d, %v", free, err)
	}
}
