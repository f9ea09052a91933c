package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// metaqPeer speaks the MetaQ text protocol; it needs no ZooKeeper. Topic benchN has N partitions in the broker's configuration.
type metaqPeer struct{ addr string }

type metaqCodec struct {
	head  []byte // "put topic "
	sum   uint32
	fixed bool
}

func metaSum(b []byte) uint32 { return crc32.ChecksumIEEE(b) & 0x7fffffff }

func newMetaqCodec(parts, size int, stamped bool) *metaqCodec {
	c := &metaqCodec{head: []byte("put " + topicName(parts) + " "), fixed: !stamped}
	c.sum = metaSum(payload(size))
	return c
}

// put topic partition value-length flag checksum opaque\r\n
func (c *metaqCodec) appendReq(dst []byte, opaque uint32, part int, p []byte) []byte {
	sum := c.sum
	if !c.fixed {
		sum = metaSum(p)
	}
	dst = append(dst, c.head...)
	dst = strconv.AppendInt(dst, int64(part), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(p)), 10)
	dst = append(dst, " 0 "...)
	dst = strconv.AppendUint(dst, uint64(sum), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(opaque), 10)
	dst = append(dst, '\r', '\n')
	return append(dst, p...)
}

// result code length opaque\r\n body
func (c *metaqCodec) parseReply(b []byte) (int, uint32, bool, error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return 0, 0, false, nil
	}
	if !bytes.HasPrefix(b, []byte("result ")) {
		return 0, 0, false, fmt.Errorf("unexpected reply %q", b[:min(len(b), 80)])
	}
	f := [3]uint64{}
	p := 7
	for j := 0; j < 3; j++ {
		for ; p < i && b[p] >= '0' && b[p] <= '9'; p++ {
			f[j] = f[j]*10 + uint64(b[p]-'0')
		}
		p++
	}
	n := i + 1 + int(f[1])
	if len(b) < n {
		return 0, 0, false, nil
	}
	return n, uint32(f[2]), f[0] == 200, nil
}

func (m *metaqPeer) Prepare(ctx context.Context, parts int) error {
	// One put to the last partition shows that the topic has them all.
	c := newMetaqCodec(parts, 16, false)
	var last error
	for i := 0; i < 50; i++ {
		if last = m.put(c, parts-1, payload(16), 20*time.Second); last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(100 * time.Millisecond):
		}
	}
	return last
}

func (m *metaqPeer) put(c *metaqCodec, part int, p []byte, timeout time.Duration) error {
	k, err := net.DialTimeout("tcp", m.addr, timeout)
	if err != nil {
		return err
	}
	defer k.Close()
	k.SetDeadline(time.Now().Add(timeout))
	if _, err := k.Write(c.appendReq(nil, 1, part, p)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	w := 0
	for {
		n, err := k.Read(buf[w:])
		if err != nil {
			return err
		}
		w += n
		n, _, ok, err := c.parseReply(buf[:w])
		if err != nil {
			return err
		}
		if n > 0 {
			if !ok {
				return fmt.Errorf("put refused: %q", buf[:w])
			}
			return nil
		}
	}
}

func (m *metaqPeer) Put(parts int, timeout time.Duration) error {
	p := payload(1024)
	return m.put(newMetaqCodec(parts, 1024, false), 0, p, timeout)
}

func (m *metaqPeer) Produce(ctx context.Context, c produceCfg) (*loadStats, error) {
	return rawProduce(ctx, m.addr, newMetaqCodec(c.Parts, c.Size, c.AckTS), c)
}

func (m *metaqPeer) Consume(ctx context.Context, c consumeCfg) (*loadStats, error) {
	st := &loadStats{Lat: &hist{}}
	var got atomic.Int64
	var byteCount atomic.Int64
	var wg sync.WaitGroup
	errc := make(chan error, c.Consumers)
	start := time.Now()
	end := start.Add(c.Deadline)
	for i := 0; i < c.Consumers; i++ {
		mine := c.mine(i)
		if len(mine) == 0 {
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := m.reader(c.Parts)
			if err != nil {
				errc <- err
				return
			}
			defer r.k.Close()
			off := make([]int64, c.Parts)
			get := func(p int) {
				fmt.Fprintf(r.k, "get %s bench %d %d 1048576 %d\r\n", r.topic, p, off[p], p)
			}
			// one get in flight per partition; the opaque says which partition an answer is for
			for _, p := range mine {
				get(p)
			}
			r.k.SetReadDeadline(end)
			for got.Load() < c.Count && ctx.Err() == nil {
				data, p, num, moved, err := r.replyOp()
				if err != nil {
					if time.Now().Before(end) {
						errc <- err
					}
					return
				}
				if moved {
					off[p] = num
				}
				if data == nil {
					if time.Now().After(end) {
						return
					}
					time.Sleep(time.Millisecond)
					get(p)
					continue
				}
				// The next offset needs the sizes only: ask on before the checksums are looked at.
				o := 0
				for o+20 <= len(data) {
					n := int(binary.BigEndian.Uint32(data[o:]))
					if o+20+n > len(data) {
						break
					}
					o += 20 + n
				}
				off[p] += int64(o)
				get(p)
				n := int64(0)
				if _, err := eachMetaq(data, func([]byte) { n++ }); err != nil {
					errc <- err
					return
				}
				byteCount.Add(int64(o))
				got.Add(n)
			}
		}()
	}
	wg.Wait()
	st.Elapsed = time.Since(start)
	st.Msgs = got.Load()
	st.Bytes = byteCount.Load()
	select {
	case err := <-errc:
		return st, err
	default:
	}
	return st, nil
}
