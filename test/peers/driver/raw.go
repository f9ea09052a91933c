package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// codec is one request/reply protocol for the raw load engine.
type codec interface {
	appendReq(dst []byte, opaque uint32, part int, payload []byte) []byte
	// parseReply returns n == 0 when b holds no whole reply yet.
	parseReply(b []byte) (n int, opaque uint32, ok bool, err error)
}

type rawConn struct {
	fd      int
	free    []uint32
	sent    []int64
	out     []byte
	in      []byte
	r, w    int
	waitOut bool
	seq     int64
}

func dialRaw(addr string) (int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return -1, err
	}
	ip := net.ParseIP(host).To4()
	if host == "localhost" {
		ip = net.IPv4(127, 0, 0, 1).To4()
	}
	if ip == nil || ip[0] != 127 {
		return -1, fmt.Errorf("%s is not a loopback address", addr)
	}
	p, err := strconv.Atoi(port)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: p, Addr: [4]byte(ip)}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetNonblock(fd, true)
	return fd, nil
}

// rawProduce drives all connections from one OS thread with epoll, so that the load costs as little CPU as it can
// beside the broker. Requests made in one turn on one connection leave in one write.
func rawProduce(ctx context.Context, addr string, cd codec, c produceCfg) (*loadStats, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ep)
	win := c.Window
	if c.Rate > 0 {
		win = 4096
	}
	conns := make([]*rawConn, c.Conns)
	defer func() {
		for _, k := range conns {
			if k != nil {
				unix.Close(k.fd)
			}
		}
	}()
	for i := range conns {
		fd, err := dialRaw(addr)
		if err != nil {
			return nil, err
		}
		k := &rawConn{fd: fd, sent: make([]int64, win), in: make([]byte, 64<<10)}
		for s := win - 1; s >= 0; s-- {
			k.free = append(k.free, uint32(s))
		}
		conns[i] = k
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return nil, err
		}
	}
	body := payload(c.Size)
	st := &loadStats{Lat: &hist{}}
	start := time.Now()
	base := start.UnixNano()
	now := func() int64 { return int64(time.Since(start)) }
	var issued, inflight int64
	limitNs := int64(c.Duration)
	if limitNs == 0 {
		limitNs = 1 << 62
	}
	var interval float64
	if c.Rate > 0 {
		interval = 1e9 / c.Rate
	}
	flush := func(i int) error {
		k := conns[i]
		for len(k.out) > 0 {
			n, err := unix.Write(k.fd, k.out)
			if err == unix.EINTR {
				continue
			}
			if err == unix.EAGAIN {
				if !k.waitOut {
					k.waitOut = true
					unix.EpollCtl(ep, unix.EPOLL_CTL_MOD, k.fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(i)})
				}
				return nil
			}
			if err != nil {
				return err
			}
			if n == len(k.out) {
				k.out = k.out[:0]
			} else {
				k.out = append(k.out[:0], k.out[n:]...)
			}
		}
		if k.waitOut {
			k.waitOut = false
			unix.EpollCtl(ep, unix.EPOLL_CTL_MOD, k.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)})
		}
		return nil
	}
	more := func(t int64) bool {
		return t < limitNs && (c.Count == 0 || issued < c.Count) && ctx.Err() == nil
	}
	send := func(i int, t int64) {
		k := conns[i]
		s := k.free[len(k.free)-1]
		k.free = k.free[:len(k.free)-1]
		k.sent[s] = t
		if c.AckTS {
			binary.BigEndian.PutUint64(body, uint64(base+t))
		}
		k.out = cd.appendReq(k.out, s, c.part(i, k.seq), body)
		k.seq++
		issued++
		inflight++
	}
	refill := func(i int, t int64) error {
		k := conns[i]
		// A half-sent buffer is finished first: it bounds memory for large messages.
		for len(k.free) > 0 && more(t) && len(k.out) < 1<<20 {
			send(i, t)
		}
		return flush(i)
	}
	events := make([]unix.EpollEvent, 256)
	var next int64 // open loop: number of the next scheduled message
	if c.Rate == 0 {
		for i := range conns {
			if err := refill(i, now()); err != nil {
				return nil, err
			}
		}
	}
	idleSince := now()
	for {
		t := now()
		timeout := int64(200e6)
		if c.Rate > 0 {
			dirty := map[int]bool{}
			for {
				due := int64(float64(next) * interval)
				if !more(due) {
					timeout = 50e6
					break
				}
				if due > t {
					timeout = due - t
					break
				}
				i := int(next % int64(c.Conns))
				if len(conns[i].free) == 0 {
					timeout = 1e6
					break // falls behind; the scheduled time still counts
				}
				send(i, due)
				dirty[i] = true
				next++
			}
			for i := range dirty {
				if err := flush(i); err != nil {
					return nil, err
				}
			}
		}
		if inflight == 0 && !more(t) {
			break
		}
		ts := unix.NsecToTimespec(timeout)
		n, _, e := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
		if e != 0 && e != unix.EINTR {
			return nil, os.NewSyscallError("epoll_pwait2", e)
		}
		if e == unix.EINTR {
			continue
		}
		t = now()
		if int(n) == 0 {
			if t-idleSince > 30e9 && c.Rate == 0 {
				return st, fmt.Errorf("no reply for 30 s with %d messages in flight", inflight)
			}
			if c.Rate > 0 && !more(int64(float64(next)*interval)) && t-limitNs > 10e9 {
				break
			}
			continue
		}
		idleSince = t
		for j := 0; j < int(n); j++ {
			i := int(events[j].Fd)
			k := conns[i]
			if events[j].Events&unix.EPOLLOUT != 0 {
				if err := flush(i); err != nil {
					return st, err
				}
			}
			if events[j].Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				m, err := unix.Read(k.fd, k.in[k.w:])
				if err == unix.EAGAIN || err == unix.EINTR {
					continue
				}
				if err != nil {
					return st, err
				}
				if m == 0 {
					return st, errors.New("broker closed the connection")
				}
				k.w += m
				t = now()
				for {
					n, op, ok, err := cd.parseReply(k.in[k.r:k.w])
					if err != nil {
						return st, err
					}
					if n == 0 {
						break
					}
					k.r += n
					if int(op) < len(k.sent) {
						st.Lat.add(time.Duration(t - k.sent[op]))
						for _, w := range c.Windows {
							w.add(t, time.Duration(t-k.sent[op]))
						}
						k.free = append(k.free, op)
					}
					inflight--
					st.Msgs++
					if !ok {
						st.Errors++
					}
				}
				if k.r == k.w {
					k.r, k.w = 0, 0
				} else if k.r > 0 && len(k.in)-k.w < 4096 {
					copy(k.in, k.in[k.r:k.w])
					k.w -= k.r
					k.r = 0
				}
				if k.w == len(k.in) {
					k.in = append(k.in, make([]byte, len(k.in))...)
				}
			}
			if c.Rate == 0 {
				if err := refill(i, t); err != nil {
					return st, err
				}
			}
		}
	}
	st.Elapsed = time.Since(start)
	st.Bytes = st.Msgs * int64(c.Size)
	return st, nil
}
