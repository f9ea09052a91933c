package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// volume is a small file system, mounted for one test.
type volume struct {
	dir     string
	fillers int
}

// data is where the broker has its files.
func (v *volume) data() string { return filepath.Join(v.dir, "data") }

func (v *volume) mount(t *testing.T, args ...string) {
	t.Helper()
	v.run(t, "mount", append(args, v.dir)...)
	t.Cleanup(func() { v.run(t, "umount", v.dir) })
}

func (v *volume) run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Errorf("%s %v: %v: %s (this test mounts file systems: it has to run as root)", name, args, err, out)
	}
	if t.Failed() {
		t.FailNow()
	}
}

// newTmpfs mounts a file system in memory.
func newTmpfs(t *testing.T, options string) *volume {
	t.Helper()
	v := &volume{dir: t.TempDir()}
	v.mount(t, "-t", "tmpfs", "-o", options, "metaq-test")
	return v
}

// newExt4 mounts an ext4 image; no blocks are kept back for root, as the broker of this test runs as root.
func newExt4(t *testing.T, size int64) *volume {
	t.Helper()
	v := &volume{dir: t.TempDir()}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	v.run(t, "mkfs.ext4", "-q", "-m", "0", image)
	v.mount(t, "-o", "loop", image)
	return v
}

// room is what the file system still has.
func (v *volume) room(t *testing.T) (bytes int64, inodes uint64, percent float64) {
	t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(v.dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize, st.Ffree, 100 * float64(st.Blocks-st.Bfree) / float64(st.Blocks-st.Bfree+st.Bavail)
}

// fill takes room until only so many bytes are left, 0 for none at all. It is what another program on the same disk does.
func (v *volume) fill(t *testing.T, left int64) {
	t.Helper()
	v.fillers++
	f, err := os.Create(filepath.Join(v.dir, fmt.Sprintf("filler-%d", v.fillers)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := int64(0)
	for step := int64(4 << 20); step >= 4<<10; {
		free, _, _ := v.room(t)
		if free-left < step {
			step /= 2
			continue
		}
		switch err := syscall.Fallocate(int(f.Fd()), 0, at, step); {
		case errors.Is(err, syscall.ENOSPC):
			step /= 2 // the file system needs some of it for itself
		case err != nil:
			t.Fatalf("fill the disk: %v", err)
		default:
			at += step
		}
	}
}

// fillInodes makes empty files until no more can be made.
func (v *volume) fillInodes(t *testing.T) {
	t.Helper()
	for {
		f, err := os.Create(filepath.Join(v.dir, fmt.Sprintf("filler-%d", v.fillers+1)))
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		v.fillers++
		f.Close()
	}
}

// free gives back what fill and fillInodes took.
func (v *volume) free(t *testing.T) {
	t.Helper()
	for ; v.fillers > 0; v.fillers-- {
		if err := os.Remove(filepath.Join(v.dir, fmt.Sprintf("filler-%d", v.fillers))); err != nil {
			t.Fatal(err)
		}
	}
}
