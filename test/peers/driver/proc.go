package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// usage of one process from /proc.
type usage struct {
	CPU     float64 // seconds, user + system
	Sys     float64
	RSSKB   int64
	AnonKB  int64
	Threads int64
}

func readUsage(pid int) (u usage, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	ut, _ := strconv.ParseInt(f[11], 10, 64)
	st, _ := strconv.ParseInt(f[12], 10, 64)
	u.CPU, u.Sys = float64(ut+st)/100, float64(st)/100
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for _, l := range strings.Split(string(b), "\n") {
		k, v, _ := strings.Cut(l, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
		switch k {
		case "VmRSS":
			u.RSSKB = n
		case "RssAnon":
			u.AnonKB = n
		case "Threads":
			u.Threads = n
		}
	}
	return u, nil
}

// sampler polls a process while a load runs.
type sampler struct {
	pid         int
	from        usage
	peak        usage
	stop        chan struct{}
	wg          sync.WaitGroup
	ok          bool
	sys         float64 // set by end
	startedWall time.Time
}

func sample(pid int) *sampler {
	s := &sampler{pid: pid, stop: make(chan struct{}), startedWall: time.Now()}
	if pid <= 0 {
		return s
	}
	var err error
	if s.from, err = readUsage(pid); err != nil {
		return s
	}
	s.ok = true
	s.peak = s.from
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		for {
			select {
			case <-s.stop:
				return
			case <-time.After(100 * time.Millisecond):
			}
			if u, err := readUsage(pid); err == nil {
				s.peak.RSSKB = max(s.peak.RSSKB, u.RSSKB)
				s.peak.AnonKB = max(s.peak.AnonKB, u.AnonKB)
				s.peak.Threads = max(s.peak.Threads, u.Threads)
			}
		}
	}()
	return s
}

// end returns CPU seconds used since sample and the peaks.
func (s *sampler) end() (cpu float64, peak usage) {
	if !s.ok {
		return 0, usage{}
	}
	u, err := readUsage(s.pid)
	close(s.stop)
	s.wg.Wait()
	if err != nil {
		return 0, s.peak
	}
	s.peak.RSSKB = max(s.peak.RSSKB, u.RSSKB)
	s.peak.AnonKB = max(s.peak.AnonKB, u.AnonKB)
	s.sys = u.Sys - s.from.Sys
	return u.CPU - s.from.CPU, s.peak
}

// machineBusy is the CPU seconds that all cores spent not idle since boot, steal included.
func machineBusy() float64 {
	b, _ := os.ReadFile("/proc/stat")
	l, _, _ := strings.Cut(string(b), "\n")
	var n float64
	for i, f := range strings.Fields(l)[1:] {
		v, _ := strconv.ParseFloat(f, 64)
		if i != 3 && i != 4 && i < 8 {
			n += v
		}
	}
	return n / 100
}

func openFiles(pid int) int {
	e, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(e)
}

func mapCount(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	return bytes.Count(b, []byte("\n"))
}

// diskUse is the bytes of blocks that files under dir hold.
func diskUse(dir string) int64 {
	var n int64
	if dir == "" {
		return 0
	}
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if i, err := d.Info(); err == nil {
			if st, ok := i.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// listenerPID finds the process that listens on the address's port.
func listenerPID(addr string) int {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	inode := ""
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(f)
		for _, l := range strings.Split(string(b), "\n") {
			c := strings.Fields(l)
			if len(c) > 9 && c[3] == "0A" && strings.HasSuffix(c[1], fmt.Sprintf(":%04X", n)) {
				inode = c[9]
			}
		}
	}
	if inode == "" {
		return 0
	}
	ps, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, p := range ps {
		if l, _ := os.Readlink(p); l == "socket:["+inode+"]" {
			pid, _ := strconv.Atoi(strings.Split(p, "/")[2])
			return pid
		}
	}
	return 0
}

// freePort is a port of the loopback address that nobody listens on now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}
