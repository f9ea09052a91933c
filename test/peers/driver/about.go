package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// machine is where, when and with what a matrix was run.
type machine struct {
	At       string            `json:"at"`
	Commit   string            `json:"commit"`
	Command  string            `json:"command"`
	Mode     string            `json:"mode"`
	Rounds   int               `json:"rounds"`
	Seconds  float64           `json:"seconds_of_a_run"`
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	MemoryGB float64           `json:"memory_gb"`
	Kernel   string            `json:"kernel"`
	Disk     string            `json:"disk"`
	Go       string            `json:"go"`
	Java     string            `json:"java,omitempty"`
	Versions map[string]string `json:"versions"`
}

func about(m *matrix) machine {
	a := machine{
		At: time.Now().UTC().Format("2006-01-02 15:04 MST"), Mode: m.mode, Rounds: m.rounds, Seconds: m.dur.Seconds(),
		Commit: firstLine("git", "-C", m.scripts, "describe", "--always", "--dirty", "--abbrev=12"),
		CPU:    procValue("/proc/cpuinfo", "model name"), Cores: runtime.NumCPU(), Go: runtime.Version(),
		Disk:     firstLine("df", "--output=source,fstype,size", "-h", m.root),
		Versions: make(map[string]string),
	}
	a.Command = os.Getenv("BENCH_COMMAND")
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		a.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		a.MemoryGB = float64(s.Totalram) * float64(s.Unit) / (1 << 30)
	}
	for _, t := range m.targets {
		if b, err := os.ReadFile(filepath.Join(t.dir, "VERSION")); err == nil {
			a.Versions[t.name] = strings.TrimSpace(string(b))
		}
		if t.base != "" && t.base != "nats" && a.Java == "" {
			a.Java = firstLine("java", "--version")
		}
	}
	return a
}

// firstLine is the first line a command prints, and of df the one below the heading; "" if the command fails.
func firstLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if name == "df" {
		return strings.Join(strings.Fields(lines[len(lines)-1]), " ")
	}
	return lines[0]
}

func procValue(file, key string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if k, v, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
