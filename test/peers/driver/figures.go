package main

import (
	"os"
	"time"
)

// figures of one run, as JSON.
type figures struct {
	Target   string  `json:"target"`
	Cell     string  `json:"cell"`
	Run      int     `json:"run"`
	Msgs     int64   `json:"msgs"`
	Errors   int64   `json:"errors"`
	Seconds  float64 `json:"seconds"`
	MsgsSec  float64 `json:"msgs_per_s"`
	MBSec    float64 `json:"mb_per_s"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	P999     float64 `json:"p999_us"`
	Max      float64 `json:"max_us"`
	RSSMB    float64 `json:"rss_peak_mb"`
	AnonMB   float64 `json:"rss_anon_peak_mb"`
	CPUPerM  float64 `json:"broker_cpu_s_per_million"`
	DrvPerM  float64 `json:"driver_cpu_s_per_million"`
	DiskPerM float64 `json:"disk_bytes_per_msg"`
	Files    int     `json:"open_files,omitempty"`
	Maps     int     `json:"mappings,omitempty"`
	Threads  int64   `json:"threads,omitempty"`
	StartSec float64 `json:"start_s,omitempty"`
	MakeSec  float64 `json:"make_partitions_s,omitempty"`
	DiskMB   float64 `json:"disk_mb,omitempty"`
	Other    float64 `json:"other_cpu_cores"` // cores that neither the broker nor the driver kept busy
	SysFrac  float64 `json:"broker_system_share"`
	KillSec  float64 `json:"start_after_kill_s,omitempty"`
	ReadMB   float64 `json:"read_beside_mb,omitempty"`
	Err      string  `json:"error,omitempty"`

	// Seconds are the seconds of W9, Effects what its events do to the windows of 100 ms.
	Windows []window          `json:"windows,omitempty"`
	Effects map[string]effect `json:"effects,omitempty"`
}

// measured runs f with the broker and this process watched.
func measured(target, cell string, run, pid int, data string, f func() (*loadStats, error)) figures {
	var d0 int64
	if data != "" {
		d0 = diskUse(data)
	}
	s := sample(pid)
	self := sample(os.Getpid())
	busy0, at := machineBusy(), time.Now()
	st, err := f()
	busy, wall := machineBusy()-busy0, time.Since(at).Seconds()
	selfCPU, _ := self.end()
	cpu, peak := s.end()
	g := figures{Target: target, Cell: cell, Run: run}
	if err != nil {
		g.Err = err.Error()
	}
	if st == nil {
		return g
	}
	g.Msgs, g.Errors, g.Seconds = st.Msgs, st.Errors, st.Elapsed.Seconds()
	if g.Seconds > 0 {
		g.MsgsSec = float64(st.Msgs) / g.Seconds
		g.MBSec = float64(st.Bytes) / g.Seconds / 1e6
	}
	if st.Lat != nil && st.Lat.total > 0 {
		g.P50, g.P99, g.P999, g.Max = st.Lat.quantile(.5), st.Lat.quantile(.99), st.Lat.quantile(.999), float64(st.Lat.maxVal)/1e3
	}
	if pid > 0 {
		g.Other = (busy - cpu - selfCPU) / wall
	}
	if cpu > 0 {
		g.SysFrac = s.sys / cpu
	}
	g.RSSMB, g.AnonMB, g.Threads = float64(peak.RSSKB)/1024, float64(peak.AnonKB)/1024, peak.Threads
	if st.Msgs > 0 {
		g.CPUPerM = cpu / float64(st.Msgs) * 1e6
		g.DrvPerM = selfCPU / float64(st.Msgs) * 1e6
		if data != "" {
			g.DiskPerM = float64(diskUse(data)-d0) / float64(st.Msgs)
		}
	}
	return g
}
