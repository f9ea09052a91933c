package main

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// echoPeer: a bare echo server that answers each 1 KiB-class request (4-byte length, opaque, body) with 40 bytes.
type echoPeer struct{ addr string }

type echoCodec struct{}

func (echoCodec) appendReq(dst []byte, opaque uint32, part int, p []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(p)))
	dst = binary.BigEndian.AppendUint32(dst, opaque)
	return append(dst, p...)
}

func (echoCodec) parseReply(b []byte) (int, uint32, bool, error) {
	if len(b) < 40 {
		return 0, 0, false, nil
	}
	return 40, binary.BigEndian.Uint32(b), true, nil
}

func (e *echoPeer) Prepare(context.Context, int) error { return nil }

func (e *echoPeer) Produce(ctx context.Context, c produceCfg) (*loadStats, error) {
	return rawProduce(ctx, e.addr, echoCodec{}, c)
}

func (e *echoPeer) Consume(context.Context, consumeCfg) (*loadStats, error) {
	return nil, errors.New("echo has no log")
}

func (e *echoPeer) Tail(context.Context, int, chan<- struct{}) (*loadStats, error) {
	return nil, errors.New("echo has no log")
}

func (e *echoPeer) Put(int, time.Duration) error { return nil }
