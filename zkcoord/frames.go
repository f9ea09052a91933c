package zkcoord

import "encoding/binary"

// frames cuts what goes over a connection to ZooKeeper, in pieces of any size, into requests or answers. Each is its length, and then that many bytes, of
// which the first four are its number; only the greetings have something else there.
type frames struct {
	head [frameHead]byte
	have int // of head
	rest int // of the frame
}

const (
	frameHead = 8
	eventXid  = -1 // the number of what the server says without having been asked
)

// feed takes the next piece, and calls for the number of each frame as soon as it is known.
func (f *frames) feed(b []byte, begun func(xid int32)) {
	for len(b) > 0 {
		if f.have == frameHead && f.rest > 0 {
			n := min(f.rest, len(b))
			f.rest -= n
			b = b[n:]
			continue
		}
		if f.have == frameHead {
			f.have = 0
		}
		n := copy(f.head[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have == frameHead {
			f.rest = int(binary.BigEndian.Uint32(f.head[:])) - 4
			begun(int32(binary.BigEndian.Uint32(f.head[4:])))
		}
	}
}
