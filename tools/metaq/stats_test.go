package main

import (
	"slices"
	"testing"
)

func TestParseStats(t *testing.T) {
	got, ok := parseStats("STATS\r\npid 12\r\nlogs part 0 min_offset 0\r\nlonely\r\nEND\r\n")
	want := []stat{{"pid", "12"}, {"logs", "part 0 min_offset 0"}, {"lonely", ""}}
	if !ok || !slices.Equal(got, want) {
		t.Fatalf("parseStats = %v, %t, want %v", got, ok, want)
	}
	if got, ok := parseStats("STATS\r\nEND\r\n"); !ok || len(got) != 0 {
		t.Fatalf("an empty answer = %v, %t, want nothing, true", got, ok)
	}
	if _, ok := parseStats("[system]\nbrokerId=0\n"); ok {
		t.Fatal("a configuration file was taken for figures")
	}
}
