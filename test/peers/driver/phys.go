package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

type physRow struct {
	Name          string
	Unit          string
	Min, Med, Max float64
	Note          string
}

func spread(name, unit, note string, rounds int, f func() (float64, error)) (physRow, error) {
	var v []float64
	for i := 0; i < rounds; i++ {
		x, err := f()
		if err != nil {
			return physRow{}, fmt.Errorf("%s: %w", name, err)
		}
		v = append(v, x)
	}
	sort.Float64s(v)
	r := physRow{name, unit, v[0], v[len(v)/2], v[len(v)-1], note}
	fmt.Fprintf(os.Stderr, "%-58s %12.0f [%.0f .. %.0f] %s %s\n", r.Name, r.Med, r.Min, r.Max, r.Unit, r.Note)
	return r, nil
}

func cmdPhys(args []string) error {
	fl := flag.NewFlagSet("phys", flag.ExitOnError)
	dir := fl.String("dir", "", "directory for the test files")
	rounds := fl.Int("rounds", 5, "runs of each")
	only := fl.String("only", "", "disk | echo | sweep")
	sweep := fl.Int("sweep", 0, "GiB of the sweep into untouched memory (0: none)")
	mb := fl.Int("mb", 1024, "MiB an append run")
	gnet := fl.String("gnet", "", "binary of a gnet echo server that takes --addr")
	port := fl.Int("port", 22800, "first port")
	sec := fl.Float64("seconds", 2, "seconds a timed run")
	out := fl.String("out", "", "JSON file")
	fl.Parse(args)
	if *dir == "" {
		return fmt.Errorf("--dir is needed")
	}
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	var rows []physRow
	add := func(r physRow, err error) error {
		if err == nil {
			rows = append(rows, r)
		}
		return err
	}
	file := filepath.Join(*dir, "phys.dat")
	defer os.Remove(file)
	total := *mb << 20
	app := func(chunk int) func() (float64, error) {
		return func() (float64, error) {
			os.Remove(file)
			syscall.Sync()
			f, err := os.Create(file)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			b := payload(chunk)
			t := time.Now()
			for n := 0; n < total; n += chunk {
				if _, err := unix.Pwrite(int(f.Fd()), b, int64(n)); err != nil {
					return 0, err
				}
			}
			return float64(total) / time.Since(t).Seconds() / 1e6, nil
		}
	}
	if *only == "echo" {
		return physEcho(add, &rows, *gnet, *port, *rounds, *sec, *out)
	}
	sizes := []int{1024, 1044 * 16, 64 << 10, 1 << 20}
	if *only == "sweep" {
		sizes = nil
	}
	for _, c := range sizes {
		if err := add(spread(fmt.Sprintf("page-cache append, pwrite of %d B", c), "MB/s", "one thread, new file", *rounds, app(c))); err != nil {
			return err
		}
	}
	// On a virtual machine whose free memory is not all backed by the host, growing into untouched memory costs a fault in
	// the hypervisor a page. The sweep keeps what it wrote, so that it gets there.
	if *sweep > 0 {
		var names []string
		r, err := spread("page-cache append, pwrite of 64 KiB, 1 GiB after the other kept", "MB/s", fmt.Sprintf("%d GiB in all", *sweep), *sweep, func() (float64, error) {
			name := fmt.Sprintf("%s-sweep%d", file, len(names))
			names = append(names, name)
			f, err := os.Create(name)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			b := payload(64 << 10)
			t := time.Now()
			for n := int64(0); n < 1<<30; n += int64(len(b)) {
				if _, err := unix.Pwrite(int(f.Fd()), b, n); err != nil {
					return 0, err
				}
			}
			x := float64(1<<30) / time.Since(t).Seconds() / 1e6
			fmt.Fprintf(os.Stderr, "sweep GiB %d: %.0f MB/s\n", len(names), x)
			return x, unix.Fdatasync(int(f.Fd()))
		})
		for _, n := range names {
			os.Remove(n)
		}
		if err := add(r, err); err != nil {
			return err
		}
	}
	if *only == "sweep" {
		return physPrint(rows, *out)
	}
	mm := func(touched bool) func() (float64, error) {
		return func() (float64, error) {
			if !touched {
				os.Remove(file)
			}
			syscall.Sync()
			f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			if err := f.Truncate(int64(total)); err != nil {
				return 0, err
			}
			m, err := unix.Mmap(int(f.Fd()), 0, total, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				return 0, err
			}
			defer unix.Munmap(m)
			b := payload(1024)
			t := time.Now()
			for n := 0; n < total; n += 1024 {
				copy(m[n:], b)
			}
			return float64(total) / time.Since(t).Seconds() / 1e6, nil
		}
	}
	if err := add(spread("page-cache append, mmap copy of 1 KiB, sparse file", "MB/s", "page faults and block reservation in it", *rounds, mm(false))); err != nil {
		return err
	}
	if err := add(spread("page-cache rewrite, mmap copy of 1 KiB, file in cache", "MB/s", "recycled segment", *rounds, mm(true))); err != nil {
		return err
	}
	syncRate := func(chunk, writers int, prealloc bool) func() (float64, error) {
		return func() (float64, error) {
			var wg sync.WaitGroup
			counts := make([]int, writers)
			errs := make([]error, writers)
			end := time.Now().Add(time.Duration(*sec * 1e9))
			start := time.Now()
			for w := 0; w < writers; w++ {
				wg.Add(1)
				go func() {
					defer wg.Done()
					name := file + strconv.Itoa(w)
					defer os.Remove(name)
					f, err := os.Create(name)
					if err != nil {
						errs[w] = err
						return
					}
					defer f.Close()
					if prealloc {
						z := make([]byte, 1<<20)
						for i := 0; i < 256/writers; i++ {
							f.Write(z)
						}
						f.Sync()
					}
					lim := int64(256 / writers << 20)
					b := payload(chunk)
					var off int64
					if w == 0 {
						start = time.Now()
						end = start.Add(time.Duration(*sec * 1e9))
					}
					for time.Now().Before(end) {
						if _, err := unix.Pwrite(int(f.Fd()), b, off); err != nil {
							errs[w] = err
							return
						}
						if err := unix.Fdatasync(int(f.Fd())); err != nil {
							errs[w] = err
							return
						}
						counts[w]++
						off += int64(chunk)
						if prealloc {
							off %= lim - int64(chunk)
						}
					}
				}()
			}
			wg.Wait()
			n := 0
			for w := range counts {
				n += counts[w]
				if errs[w] != nil {
					return 0, errs[w]
				}
			}
			return float64(n) / time.Since(start).Seconds(), nil
		}
	}
	for _, c := range []int{4096, 65536} {
		if err := add(spread(fmt.Sprintf("fdatasync after an append of %d B", c), "1/s", "one file, grows", *rounds, syncRate(c, 1, false))); err != nil {
			return err
		}
		if err := add(spread(fmt.Sprintf("fdatasync after an overwrite of %d B", c), "1/s", "one file, written before", *rounds, syncRate(c, 1, true))); err != nil {
			return err
		}
	}
	if err := add(spread("fdatasync after an append of 4096 B, 16 files at once", "1/s", "all together", *rounds, syncRate(4096, 16, false))); err != nil {
		return err
	}
	if *only == "disk" {
		return physPrint(rows, *out)
	}
	return physEcho(add, &rows, *gnet, *port, *rounds, *sec, *out)
}

func physPrint(rows []physRow, out string) error {
	fmt.Print(physRows(rows))
	if out == "" {
		return nil
	}
	b, err := json.MarshalIndent(rows, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(out, b, 0o644)
}

func physRows(rows []physRow) string {
	var b strings.Builder
	b.WriteString("| limit | median | min | max | unit | note |\n|---|---:|---:|---:|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.Name, num(r.Med), num(r.Min), num(r.Max), r.Unit, r.Note)
	}
	return b.String()
}
