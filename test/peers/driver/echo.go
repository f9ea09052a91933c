package main

import (
	"encoding/binary"
	"flag"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// cmdEcho serves the echo protocol: 4-byte length, 4-byte opaque, body; the reply is 40 bytes that begin with the opaque.
func cmdEcho(args []string) error {
	fl := flag.NewFlagSet("echo-server", flag.ExitOnError)
	addr := fl.String("addr", "127.0.0.1:22800", "loopback address")
	useNet := fl.Bool("net", false, "net package with a goroutine a connection instead of epoll")
	fl.Parse(args)
	if err := loopback(*addr); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	if *useNet {
		for {
			k, err := l.Accept()
			if err != nil {
				return err
			}
			go func() {
				in := make([]byte, 256<<10)
				w := 0
				var out []byte
				for {
					n, err := k.Read(in[w:])
					if err != nil {
						k.Close()
						return
					}
					w += n
					r := 0
					r, out = echoFrames(in[:w], out[:0])
					copy(in, in[r:w])
					w -= r
					if len(out) > 0 {
						k.Write(out)
					}
				}
			}()
		}
	}
	lf, err := l.(*net.TCPListener).File()
	if err != nil {
		return err
	}
	defer lf.Close() // also keeps the listener's descriptor from the finalizer
	lfd := int(lf.Fd())
	unix.SetNonblock(lfd, true)
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return err
	}
	unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, lfd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(lfd)})
	type conn struct {
		in []byte
		w  int
	}
	conns := map[int]*conn{}
	ev := make([]unix.EpollEvent, 128)
	var out []byte
	for {
		n, err := unix.EpollWait(ep, ev, -1)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		for i := 0; i < n; i++ {
			fd := int(ev[i].Fd)
			if fd == lfd {
				k, _, err := unix.Accept4(lfd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
				if err == nil {
					unix.SetsockoptInt(k, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
					conns[k] = &conn{in: make([]byte, 256<<10)}
					unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, k, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(k)})
				}
				continue
			}
			c := conns[fd]
			m, err := unix.Read(fd, c.in[c.w:])
			if err == unix.EAGAIN || err == unix.EINTR {
				continue
			}
			if err != nil || m == 0 {
				unix.Close(fd)
				delete(conns, fd)
				continue
			}
			c.w += m
			var r int
			r, out = echoFrames(c.in[:c.w], out[:0])
			copy(c.in, c.in[r:c.w])
			c.w -= r
			for o := out; len(o) > 0; {
				m, err := unix.Write(fd, o)
				if err == unix.EAGAIN {
					time.Sleep(50 * time.Microsecond)
					continue
				}
				if err != nil {
					break
				}
				o = o[m:]
			}
		}
	}
}

func echoFrames(in, out []byte) (int, []byte) {
	r := 0
	for len(in)-r >= 8 {
		n := 8 + int(binary.BigEndian.Uint32(in[r:]))
		if len(in)-r < n {
			break
		}
		out = append(out, in[r+4:r+8]...)
		out = append(out, "result 200 18 0 1234567890 0 12345678"[:36]...)
		r += n
	}
	return r, out
}
