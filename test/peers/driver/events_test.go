package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestLook_SeesWhatChangedInADataFolder(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("log/1.log")
	before := lookAt(dir)
	write("log/2.log")
	write("log/1.idx")
	write("checkpoint")
	now := lookAt(dir)
	if got, want := before.changes(now), []string{eventRoll, eventSeal, eventCheckpoint}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	if err := os.Remove(filepath.Join(dir, "log/1.log")); err != nil {
		t.Fatal(err)
	}
	if got, want := now.changes(lookAt(dir)), []string{eventRetention}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestEffects_CompareWindowsWithAndWithoutEvents(t *testing.T) {
	log := eventLog{events: []event{{eventRoll, 50 * time.Millisecond}, {eventRoll, 250 * time.Millisecond}, {eventSeal, 260 * time.Millisecond}}}
	spans := []window{{P999: 40}, {P999: 10}, {P999: 60}, {P999: 12}, {P999: 14}}
	got := log.effects(spans)
	if e := got[eventRoll]; e.Count != 2 || e.With != 60 || e.Without != 12 {
		t.Errorf("roll: %+v, want 2 events, 60 with and 12 without", e)
	}
	if e := got[eventRetention]; e.Count != 0 {
		t.Errorf("retention: %+v, want none", e)
	}
}

func TestWindows_CutByTheTimeOfTheAnswer(t *testing.T) {
	w := &windows{every: time.Second}
	w.add(int64(500*time.Millisecond), time.Millisecond)
	w.add(int64(2500*time.Millisecond), 3*time.Millisecond)
	w.add(int64(3*time.Second), time.Millisecond)
	var counts []uint64
	for _, d := range w.done {
		counts = append(counts, d.Msgs)
	}
	if want := []uint64{1, 0, 1}; !slices.Equal(counts, want) {
		t.Fatalf("got %v, want %v", counts, want)
	}
	if w.done[2].Max != 3000 {
		t.Fatalf("largest of the third second: %v µs, want 3000", w.done[2].Max)
	}
}
