package vfs

import "fmt"

// Kind names the method that a call went to.
type Kind string

// The kinds of calls, first of an FS, then of a File, then of a Mapping.
const (
	OpCreate   Kind = "create"
	OpOpen     Kind = "open"
	OpOpenRead Kind = "openread"
	OpRemove   Kind = "remove"
	OpRename   Kind = "rename"
	OpList     Kind = "list"
	OpMkdirAll Kind = "mkdirall"
	OpSyncDir  Kind = "syncdir"
	OpStat     Kind = "stat"
	OpLock     Kind = "lock"
	OpFree     Kind = "free"
	OpReadFile Kind = "readfile"

	OpReadAt   Kind = "readat"
	OpWriteAt  Kind = "writeat"
	OpSync     Kind = "sync"
	OpWriteOut Kind = "writeout"
	OpAllocate Kind = "allocate"
	OpTruncate Kind = "truncate"
	OpSize     Kind = "size"
	OpMap      Kind = "map"
	OpClose    Kind = "close"

	OpUnmap Kind = "unmap"
)

// Op is one call to a Mem.
type Op struct {
	Kind   Kind
	Name   string // of a file: the one it was opened by
	To     string // new name of a rename
	Offset int64  // of a read, write or writeout
	Length int64  // of a read, write, writeout or mapping; new size of an allocate or truncate
}

// String writes the call as a line that a test can compare.
func (o Op) String() string {
	switch o.Kind {
	case OpRename:
		return fmt.Sprintf("rename %s %s", o.Name, o.To)
	case OpReadAt, OpWriteAt, OpWriteOut:
		return fmt.Sprintf("%s %s %d+%d", o.Kind, o.Name, o.Offset, o.Length)
	case OpAllocate, OpTruncate, OpMap:
		return fmt.Sprintf("%s %s %d", o.Kind, o.Name, o.Length)
	default:
		return fmt.Sprintf("%s %s", o.Kind, o.Name)
	}
}

// ShortWrite is an injected error: a WriteAt stores its first N bytes and then fails with Err. For other calls it is
// just Err.
type ShortWrite struct {
	N   int
	Err error
}

func (e *ShortWrite) Error() string { return fmt.Sprintf("after %d bytes: %v", e.N, e.Err) }

func (e *ShortWrite) Unwrap() error { return e.Err }

// Inject has fn called before each call, from the caller's goroutine and with no lock held: it may wait, and it may use
// the Mem, whose calls it then sees too. The error that it returns is the call's, and the call does nothing, with two
// exceptions: a ShortWrite, and Sync and WriteOut, which may have written any of the pages and never writes the rest, as kernels do:
// they drop what they could not write and report it once. A failed Close closes all the same. nil ends it.
func (m *Mem) Inject(fn func(op Op) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inject = fn
}

// Calls returns all calls so far in the order in which they began, those included that failed.
func (m *Mem) Calls() []Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]Op(nil), m.calls...)
}

// ForgetCalls empties the record.
func (m *Mem) ForgetCalls() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = nil
}

// begin records a call and asks for its injected error. The lock must not be held.
func (m *Mem) begin(op Op) error {
	m.mu.Lock()
	m.calls = append(m.calls, op)
	fn := m.inject
	m.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(op)
}
