package zkcoord

import (
	"encoding/binary"
	"slices"
	"testing"
)

// However a stream is cut, its frames are the same.
func TestFrames_InPiecesOfAnySize(t *testing.T) {
	var stream []byte
	want := []int32{0, 1, -2, eventXid, 7}
	for i, xid := range want {
		body := make([]byte, i*5)
		stream = binary.BigEndian.AppendUint32(stream, uint32(4+len(body)))
		stream = binary.BigEndian.AppendUint32(stream, uint32(xid))
		stream = append(stream, body...)
	}
	for size := 1; size <= len(stream); size++ {
		var f frames
		var got []int32
		for piece := range slices.Chunk(stream, size) {
			f.feed(piece, func(xid int32) { got = append(got, xid) })
		}
		if !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %v, want %v", size, got, want)
		}
	}
}
