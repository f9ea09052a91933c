package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"
)

// cmdThreads prints the CPU that the threads of a process use, added up by thread name (digits cut).
func cmdThreads(args []string) error {
	fl := flag.NewFlagSet("threads", flag.ExitOnError)
	pid := fl.Int("pid", 0, "process")
	sec := fl.Float64("seconds", 2, "how long")
	fl.Parse(args)
	type use struct{ user, sys float64 }
	read := func() map[string]use {
		m := map[string]use{}
		ps, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", *pid))
		for _, p := range ps {
			b, err := os.ReadFile(p)
			if err != nil {
				continue
			}
			i, j := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
			name := strings.TrimRight(string(b[i+1:j]), "0123456789#-_ ")
			f := strings.Fields(string(b[j+2:]))
			ut, _ := strconv.ParseFloat(f[11], 64)
			st, _ := strconv.ParseFloat(f[12], 64)
			u := m[name]
			m[name] = use{u.user + ut/100, u.sys + st/100}
		}
		return m
	}
	a := read()
	time.Sleep(time.Duration(*sec * 1e9))
	b := read()
	var names []string
	for n := range b {
		names = append(names, n)
	}
	d := func(n string) use { return use{b[n].user - a[n].user, b[n].sys - a[n].sys} }
	sort.Slice(names, func(i, j int) bool {
		x, y := d(names[i]), d(names[j])
		return x.user+x.sys > y.user+y.sys
	})
	for _, n := range names {
		if u := d(n); u.user+u.sys >= 0.01 {
			fmt.Printf("%-18s user %5.2f sys %5.2f cores %.2f\n", n, u.user, u.sys, (u.user+u.sys) / *sec)
		}
	}
	return nil
}
