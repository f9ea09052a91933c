package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// coldShare is how much of a backlog may still be in the page cache when a cold drain begins.
const coldShare = 0.05

// chill drops what the page cache holds of the target's files. Pages that a process has mapped stay; a broker that keeps
// more than coldShare that way is restarted in between.
func (t *target) chill() error {
	for _, restart := range []bool{false, true} {
		if restart {
			t.stop(false)
		}
		syscall.Sync()
		cached, total, err := dropCache(t.data)
		if err != nil {
			return err
		}
		if restart {
			if _, err := t.start("os", false, 0); err != nil {
				return err
			}
		}
		if float64(cached) <= coldShare*float64(total) {
			return nil
		}
	}
	return fmt.Errorf("%s: more than %.0f %% of the backlog stay in the page cache; is %s on a disk?", t.name, 100*coldShare, t.data)
}

// dropCache drops the clean cached pages of all files below dir and returns how many bytes of them are still cached.
func dropCache(dir string) (cached, total int64, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n, size, err := dropFile(name)
		cached, total = cached+n, total+size
		return err
	})
	return cached, total, err
}

func dropFile(name string) (cached, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return 0, 0, err
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return 0, 0, fmt.Errorf("drop the cache of %s: %w", name, err)
	}
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return 0, 0, fmt.Errorf("map %s: %w", name, err)
	}
	defer unix.Munmap(m)
	page := int64(os.Getpagesize())
	resident := make([]byte, (st.Size()+page-1)/page)
	if err := mincore(m, resident); err != nil {
		return 0, 0, fmt.Errorf("cached pages of %s: %w", name, err)
	}
	for _, r := range resident {
		if r&1 != 0 {
			cached += page
		}
	}
	return cached, st.Size(), nil
}

const (
	settleBound = 10 * time.Minute
	settledFor  = 3 * time.Second // our broker looks each second for segments to rewrite
)

// settle waits until our broker has put its log into the order of the partitions, which it does in the background. Others do nothing of that kind.
func (t *target) settle() error {
	if t.kind != "ours" {
		return nil
	}
	syscall.Sync()
	began, busy := time.Now(), time.Now()
	for time.Since(busy) < settledFor {
		if time.Since(began) > settleBound {
			return fmt.Errorf("%s has rewritten its log for %s and is not done", t.name, settleBound)
		}
		stats, err := t.statsStore()
		if err != nil {
			return err
		}
		if !strings.Contains(stats, "\nrewrite_pending_segments 0\r") {
			busy = time.Now()
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// statsStore asks our broker for `stats store`.
func (t *target) statsStore() (string, error) {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "stats store\r\nquit\r\n"); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// w7 drains a backlog that is no longer in memory: messages of 4 or 1,000 partitions interleaved, all drained together
// or one alone; for ours beside it a log that holds nothing but as many messages in one partition.
func (m *matrix) w7() error {
	o := m.only(func(t *target) bool {
		return noVariant(t) && (t.kind == "ours" || t.kind == "metaq-java" || t.kind == "kafka")
	})
	own := m.only(func(t *target) bool { return t.kind == "ours" })
	for _, parts := range []int{4, 1000} {
		all, one := fmt.Sprintf("W7 %d parts all", parts), fmt.Sprintf("W7 %d parts one", parts)
		up := o.backlogged(all, parts, m.cold, true)
		for _, t := range up {
			if err := t.settle(); err != nil {
				return err
			}
		}
		each := m.cold / 1024 / int64(parts) * 9 / 10 // the producers of the backlog were not quite even
		for r := m.warmUp; r <= m.rounds; r++ {
			for _, t := range up {
				m.drainCold(t, all, r, consumeCfg{Parts: parts, Consumers: 4, Count: m.cold / 1024})
				m.drainCold(t, one, r, consumeCfg{Parts: parts, Consumers: 1, Count: each, Alone: true})
			}
		}
		m.stopAll()
		cell := fmt.Sprintf("W7 %d parts own log", parts)
		for _, t := range own.backlogged(cell, 1, m.cold/int64(parts), false) {
			if err := t.settle(); err != nil {
				return err
			}
			for r := m.warmUp; r <= m.rounds; r++ {
				m.drainCold(t, cell, r, consumeCfg{Parts: 1, Consumers: 1, Count: each})
			}
		}
		m.stopAll()
		for _, t := range o.targets {
			os.RemoveAll(t.data)
		}
	}
	return nil
}

// drainCold measures one drain. Run 0 is a warm-up.
func (m *matrix) drainCold(t *target, cell string, run int, c consumeCfg) {
	c.Deadline = 120 * time.Second
	if err := t.chill(); err != nil {
		m.failed(t, cell, err)
		return
	}
	g := measured(t.name, cell, run, t.pid, "", func() (*loadStats, error) { return t.p.Consume(context.Background(), c) })
	if run > 0 {
		m.add(g)
	}
}
