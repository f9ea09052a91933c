package client

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func openSpill(t *testing.T, dir string) (*spillDir, map[spillPlace]*spill) {
	t.Helper()
	d, found, err := openSpillDir(dir, spillMagic, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return d, found
}

func closeSpill(d *spillDir, found map[spillPlace]*spill) {
	for _, s := range found {
		s.close()
	}
	d.lock.Close()
}

func drain(t *testing.T, s *spill) (bodies []string) {
	t.Helper()
	for !s.empty() {
		flag, data, err := s.head()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, fmt.Sprint(flag, " ", string(data)))
		s.advance(len(data))
	}
	return bodies
}

func messages(bodies ...string) (list []*sending) {
	for i, b := range bodies {
		list = append(list, &sending{flag: int32(i), data: []byte(b)})
	}
	return list
}

var orders = spillPlace{"a.b-c", Partition{Broker: 3, Number: 12}}

func TestSpill_GoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	d, _ := openSpill(t, dir)
	s := d.newSpill(orders)
	if n, err := s.add(messages("a", "b", "c", "d")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	s.advance(1)
	closeSpill(d, map[spillPlace]*spill{orders: s})
	d, found := openSpill(t, dir)
	if n, err := found[orders].add(messages("e")); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := fmt.Sprint(drain(t, found[orders])); got != "[1 b 2 c 3 d 0 e]" {
		t.Errorf("got %s", got)
	}
	if d.used.Load() != 0 {
		t.Errorf("%d bytes wait", d.used.Load())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*"+spillSuffix)); len(left) != 0 {
		t.Errorf("%v are left", left)
	}
	closeSpill(d, found)
}

// Whatever a crash leaves of the last write, everything before it is there, and what comes later is.
func TestSpill_ATornEndIsCut(t *testing.T) {
	dir := t.TempDir()
	d, _ := openSpill(t, dir)
	s := d.newSpill(orders)
	if _, err := s.add(messages("first", "second")); err != nil {
		t.Fatal(err)
	}
	name := s.segments[0].file.Name()
	closeSpill(d, map[spillPlace]*spill{orders: s})
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint64(whole[spillFlushed:], spillHeader) // as it was before the write
	for cut := range whole {
		if err := os.WriteFile(name, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		d, found := openSpill(t, dir)
		s := found[orders]
		if _, err := s.add(messages("third")); err != nil {
			t.Fatal(err)
		}
		want := "[0 third]"
		if cut >= spillHeader+frameHeader+len("first") {
			want = "[0 first 0 third]"
		}
		if got := fmt.Sprint(drain(t, s)); got != want {
			t.Errorf("cut at %d: %s, want %s", cut, got, want)
		}
		closeSpill(d, found)
	}
}

// Damage before the end is no torn end: what is behind it was accepted.
func TestSpill_DamageIsNamed(t *testing.T) {
	dir := t.TempDir()
	d, _ := openSpill(t, dir)
	s := d.newSpill(orders)
	for range 3 {
		if _, err := s.add(messages(strings.Repeat("x", segmentBytes))); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.segments) != 3 {
		t.Fatalf("%d segments, want 3", len(s.segments))
	}
	name := s.segments[1].file.Name()
	closeSpill(d, map[spillPlace]*spill{orders: s})
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openSpillDir(dir, spillMagic, 1<<30); err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "damaged at byte 24") {
		t.Errorf("a damaged file: %v", err)
	}
}

// In the last file the end of what was flushed tells damage from a torn end.
func TestSpill_WhatWasFlushedIsNoTornEnd(t *testing.T) {
	dir := t.TempDir()
	d, _ := openSpill(t, dir)
	s := d.newSpill(orders)
	if _, err := s.add(messages("first", "second", "third")); err != nil {
		t.Fatal(err)
	}
	name := s.segments[0].file.Name()
	closeSpill(d, map[spillPlace]*spill{orders: s})
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	rotten := slices.Clone(whole)
	rotten[spillHeader+frameHeader] ^= 1
	for what, b := range map[string][]byte{"damaged at byte 24": rotten, "damaged at byte 41": whole[:len(whole)-20]} {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openSpillDir(dir, spillMagic, 1<<30); err == nil || !strings.Contains(err.Error(), name+": "+what) {
			t.Errorf("%v, want %s", err, what)
		}
	}
}

func TestSpill_WhatWasRefusedCounts(t *testing.T) {
	dir := t.TempDir()
	d, _ := openSpill(t, dir)
	s := d.newSpill(orders)
	if _, err := s.add(messages("first", "second")); err != nil {
		t.Fatal(err)
	}
	used := d.used.Load()
	if err := s.refuse(0, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if got := d.used.Load(); got != used {
		t.Errorf("%d bytes after one was refused, %d before", got, used)
	}
	closeSpill(d, map[spillPlace]*spill{orders: s})
	d, found := openSpill(t, dir)
	if got := d.used.Load(); got != used {
		t.Errorf("%d bytes when it is opened again, %d before", got, used)
	}
	closeSpill(d, found)
}

// A file of another version is not called damaged, and stays as it is.
func TestSpill_OfAnotherVersion(t *testing.T) {
	for _, magic := range []string{spillMagic, failedMagic} {
		name := filepath.Join(t.TempDir(), "orders.0-3.00000001.spill")
		want := append([]byte(magic[:len(magic)-1]+"2"), make([]byte, 8)...) // with another header too
		if err := os.WriteFile(name, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openSpillDir(filepath.Dir(name), magic, 1<<30); err == nil || !strings.Contains(err.Error(), "another version") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", magic, err)
		}
		if magic == spillMagic {
			for _, err := range ReadSpill(name) {
				if err == nil || !strings.Contains(err.Error(), "another version") {
					t.Errorf("read: %v", err)
				}
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file has become %q, %v", got, err)
		}
	}
}
