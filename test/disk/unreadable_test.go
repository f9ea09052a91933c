package disk

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/metaq/metaq/store/vfs"
)

// The disk has a place that cannot be read, in the middle of what is loaded as one large page: all that lies before it can be read all the same.
//
// The disk is a loop device whose file ends too early: without a page cache of its own it has nothing to give for what is missing.
func TestUnreadable_TakesNothingWithIt(t *testing.T) {
	const (
		page  = 4096
		size  = 16 << 20
		block = 2 << 20
		bad   = 9<<20 + block/4 // where the disk ends, inside a large page
	)
	v := &volume{dir: t.TempDir()}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 2*size), 0o600); err != nil {
		t.Fatal(err)
	}
	v.run(t, "mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", image)
	out, err := exec.Command("losetup", "--find", "--show", "--direct-io=on", image).Output()
	if err != nil {
		t.Fatalf("losetup: %v (this test makes a disk: it has to run as root)", err)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { v.run(t, "losetup", "--detach", device) })
	v.mount(t, device)

	content := make([]byte, size)
	for at := 0; at < size; at += page {
		copy(content[at:], "page of the test ")
		binary.BigEndian.PutUint32(content[at+20:], uint32(at))
	}
	f, err := vfs.OS().Create(filepath.Join(v.dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	f.Uncache()
	disk, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	first, end := bytes.Index(disk, content[:page]), bytes.Index(disk, content[bad:bad+page])
	if first < 0 || end-first != bad {
		t.Fatalf("the file begins at %d of the disk and goes on at %d: it lies in pieces", first, end)
	}
	if err := os.Truncate(image, int64(end)); err != nil {
		t.Fatal(err)
	}

	m, err := f.Map(size)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Unmap()
	unreadable := 0
	for at := 0; at < size; at += page {
		if at%block == 0 {
			m.Load(int64(at), block)
		}
		switch ok := same(m.Bytes()[at:at+page], content[at:at+page]); {
		case !ok && at < bad:
			t.Fatalf("the page at %d cannot be read, the disk is bad from %d on", at, bad)
		case !ok:
			unreadable++
		}
	}
	if want := (size - bad) / page; unreadable != want {
		t.Errorf("%d pages cannot be read, want the %d that are bad: the fault did not happen (does the file system of %s know O_DIRECT?)", unreadable, want, image)
	}
}

// same compares what is mapped with what it should be; false when it cannot be read.
func same(mapped, want []byte) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	return bytes.Equal(mapped, want)
}
