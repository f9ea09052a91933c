package crash

import (
	"slices"
	"testing"
)

func TestParseStoredRefusesDamage(t *testing.T) {
	good := append([]byte{
		0, 0, 0, 5, 0x36, 0x10, 0xa6, 0x86, 0, 0, 0, 0, 0, 0x12, 0xd6, 0x87, 0, 0, 0, 0,
	}, "hello"...)
	m, size, err := parseStored(good)
	if err != nil || size != 25 || m.id != 1234567 || string(m.data) != "hello" {
		t.Fatalf("got %+v, %d, %v", m, size, err)
	}
	for cut := range len(good) {
		if _, size, err := parseStored(good[:cut]); size != 0 || err != nil {
			t.Errorf("cut at %d: size %d, %v", cut, size, err)
		}
	}
	for i := range good {
		if i >= 8 && i < 16 {
			continue // the id, which only the receipt can judge
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if m, size, err := parseStored(bad); err == nil && size != 0 {
			t.Errorf("a bit of byte %d: %+v", i, m)
		}
	}
}
