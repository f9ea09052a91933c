package vfs

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOS_ModesKeepOthersOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	check(t, OS().MkdirAll(dir))
	check(t, create(t, OS(), filepath.Join(dir, "a"), "abc").Close())
	lock, err := OS().Lock(filepath.Join(dir, "lock"))
	check(t, err)
	check(t, lock.Close())
	for name, most := range map[string]os.FileMode{"": 0o750, "a": 0o640, "lock": 0o640} {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if mode := info.Mode().Perm(); mode&^most != 0 || mode&0o600 != 0o600 {
			t.Errorf("mode of %q is %o, want %o at most", name, mode, most)
		}
	}
}

func TestOS_AllocateReservesBlocks(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	file := create(t, OS(), name, "")
	defer file.Close()
	check(t, file.Allocate(1<<20))
	var st syscall.Stat_t
	check(t, syscall.Stat(name, &st))
	if st.Size != 1<<20 || st.Blocks*512 < 1<<20 {
		t.Fatalf("size %d, %d bytes of blocks; want 1 MiB of both", st.Size, st.Blocks*512)
	}
}

const lockChild = "VFS_TEST_LOCK"

// The child of the test below: it takes the lock and holds it until it is killed.
func TestMain(m *testing.M) {
	name := os.Getenv(lockChild)
	if name == "" {
		os.Exit(m.Run())
	}
	if _, err := OS().Lock(name); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("locked\n")
	_, _ = os.Stdin.Read(make([]byte, 1)) // ends too when the test does
}

func TestOS_LockNamesItsHolderAndEndsWithIt(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), lockChild+"="+name)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe()
	check(t, err)
	defer stdin.Close()
	stdout, err := child.StdoutPipe()
	check(t, err)
	check(t, child.Start())
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		t.Fatalf("the child holds no lock: %v", err)
	}
	_, err = OS().Lock(name)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != child.Process.Pid {
		t.Errorf("Lock: %v, want one that names process %d", err, child.Process.Pid)
	}
	check(t, child.Process.Kill())
	_ = child.Wait() // killed, which it reports as an error
	lock, err := OS().Lock(name)
	check(t, err)
	check(t, lock.Close())
}

func TestOS_CachedSaysWhatUncacheHasDropped(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	file := create(t, OS(), name, string(make([]byte, 1<<20)))
	defer file.Close()
	check(t, file.Sync())
	m, err := file.Map(1 << 20)
	check(t, err)
	if n := m.Cached(0, 1<<20); n != 1<<20 {
		t.Fatalf("%d bytes just written are in memory", n)
	}
	check(t, m.Unmap())
	file.Uncache()
	m, err = file.Map(1 << 20)
	check(t, err)
	defer func() { check(t, m.Unmap()) }()
	if n := m.Cached(0, 1<<20); n != 0 && !inMemory(t, name) {
		t.Fatalf("%d bytes are in memory after they were dropped", n)
	}
	m.Prefetch(0, 1<<20)
	m.Advise(0, 1<<20)
	if n := m.Cached(0, 1<<20); n != 1<<20 {
		t.Fatalf("%d bytes are in memory after they were asked for", n)
	}
}

func TestOS_LoadBringsWhatIsThereIntoMemory(t *testing.T) {
	const size, cut = 8 << 20, 3 << 20
	name := filepath.Join(t.TempDir(), "a")
	file := create(t, OS(), name, string(make([]byte, size)))
	defer file.Close()
	check(t, file.Sync())
	file.Uncache()
	m, err := file.Map(size)
	check(t, err)
	defer func() { check(t, m.Unmap()) }()
	m.Load(0, 2<<20)
	m.Load(4<<20, 1<<40)
	for _, part := range [][2]int64{{0, 2 << 20}, {4 << 20, 4 << 20}} {
		if n := m.Cached(part[0], part[1]); n != part[1] {
			t.Errorf("%d bytes of %d at %d are in memory after they were loaded", n, part[1], part[0])
		}
	}
	// What cannot be read takes nothing with it: neither what lies beside it, nor what is loaded later.
	check(t, file.Truncate(cut))
	file.Uncache()
	m.Load(2<<20, 2<<20)
	m.Load(0, 2<<20)
	if n := m.Cached(0, cut); n != cut {
		t.Errorf("%d bytes of %d are in memory beside a cut", n, cut)
	}
	if b := m.Bytes(); b[0] != 0 || b[cut-1] != 0 {
		t.Error("something else is in them")
	}
}

// inMemory says whether a file lies on a file system that has no disk below.
func inMemory(t *testing.T, name string) bool {
	t.Helper()
	const tmpfs = 0x01021994
	var st syscall.Statfs_t
	check(t, syscall.Statfs(name, &st))
	return st.Type == tmpfs
}
