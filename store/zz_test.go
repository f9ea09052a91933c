package store
import ("testing";"fmt";"github.com/metaq/metaq/protocol")
func TestZZ(t *testing.T){
	frame := make([]byte, frameHeader)
	frame = protocol.AppendMessage(frame, 4611686018427387904, 0, []byte("hello"))
	putHeader(frame, header{kind: kindMessage, count: 1, epoch: 1, queue: 1, lag: 56, pos: 4096, logical: 25, time: 1700000000000})
	for i:=0;i<len(frame);i+=8 { e:=min(i+8,len(frame)); fmt.Printf("    %02d: % x\n", i, frame[i:e]) }
}
