package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pollEvery is how long a MetaQ consumer waits after a round of empty answers (the protocol has no long poll).
var pollEvery = 500 * time.Microsecond

func (m *metaqPeer) Tail(ctx context.Context, parts int, ready chan<- struct{}) (*loadStats, error) {
	st := &loadStats{Lat: &hist{}}
	r, err := m.reader(parts)
	if err != nil {
		return nil, err
	}
	defer r.k.Close()
	off := make([]int64, parts)
	for p := range off {
		if off[p], err = r.maxOffset(p); err != nil {
			return nil, err
		}
	}
	waits := r.longPolls()
	close(ready)
	if waits {
		return st, r.tailWaiting(ctx, off, st)
	}
	start := time.Now()
	var req []byte
	for ctx.Err() == nil {
		req = req[:0]
		for p := range off {
			req = fmt.Appendf(req, "get %s bench %d %d 1048576 %d\r\n", r.topic, p, off[p], p)
		}
		if _, err := r.k.Write(req); err != nil {
			return st, err
		}
		any := false
		// The original broker may answer pipelined gets out of order, so one is matched by its opaque.
		for range off {
			data, p, num, moved, err := r.replyOp()
			if err != nil {
				return st, err
			}
			if moved {
				off[p] = num
			}
			if data == nil {
				continue
			}
			any = true
			now := time.Now().UnixNano()
			n, err := eachMetaq(data, func(b []byte) {
				st.Lat.add(time.Duration(now - int64(binary.BigEndian.Uint64(b))))
				st.Msgs++
			})
			if err != nil {
				return st, err
			}
			off[p] += int64(n)
		}
		if !any {
			time.Sleep(pollEvery)
		}
	}
	st.Elapsed = time.Since(start)
	return st, nil
}

// longPolls asks the broker whether a get may wait (extension "longpoll"; the original takes the word for a topic).
func (r *metaqReader) longPolls() bool {
	fmt.Fprint(r.k, "stats features 7\r\n")
	line, err := r.r.ReadSlice('\n')
	if err != nil {
		return false
	}
	f := bytes.Fields(line)
	if len(f) < 3 {
		return false
	}
	n, _ := strconv.Atoi(string(f[2]))
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return false
	}
	return slices.Contains(strings.Fields(string(b)), "longpoll")
}

// tailWaiting keeps one waiting get a partition outstanding.
func (r *metaqReader) tailWaiting(ctx context.Context, off []int64, st *loadStats) error {
	start := time.Now()
	defer context.AfterFunc(ctx, func() { r.k.SetReadDeadline(time.Now()) })()
	ask := func(p int) error {
		_, err := fmt.Fprintf(r.k, "get %s bench %d %d 1048576 200 %d\r\n", r.topic, p, off[p], p)
		return err
	}
	for p := range off {
		if err := ask(p); err != nil {
			return err
		}
	}
	for ctx.Err() == nil {
		data, p, num, moved, err := r.replyOp()
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			return err
		}
		if moved {
			off[p] = num
		}
		now := time.Now().UnixNano()
		n, err := eachMetaq(data, func(b []byte) {
			st.Lat.add(time.Duration(now - int64(binary.BigEndian.Uint64(b))))
			st.Msgs++
		})
		if err != nil {
			return err
		}
		off[p] += int64(n)
		if err := ask(p); err != nil {
			return err
		}
	}
	st.Elapsed = time.Since(start)
	return nil
}
