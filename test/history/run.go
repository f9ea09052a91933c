package history

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The files of a run directory.
const (
	FileName    = "history.ndjson.gz"
	configName  = "server.ini"
	verdictName = "verdict.json"
)

// keepVariable names a folder in which run directories are made, so that they stay. Else they end with the test.
const keepVariable = "KEEP_BROKER"

// A Run is a run directory whose history is being written.
type Run struct {
	*Writer
	Dir string
}

// Begin makes the directory of a run and begins its history. The header's test, seed and window are the caller's.
func Begin(t testing.TB, h Header, config string) *Run {
	t.Helper()
	parent := os.Getenv(keepVariable)
	if parent == "" {
		parent = t.TempDir()
	}
	dir := filepath.Join(parent, fmt.Sprintf("%s-%d", h.Test, h.Seed))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("run directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(config), 0o644); err != nil {
		t.Fatalf("run directory: %v", err)
	}
	h.Config = fmt.Sprintf("%x", sha256.Sum256([]byte(config)))
	h.Go, h.Machine, h.Commit = runtime.Version(), machine(), commit()
	name := filepath.Join(dir, FileName)
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		t.Fatalf("remove the history of a run with the same seed: %v", err)
	}
	w, err := Create(name, h)
	if err != nil {
		t.Fatal(err)
	}
	return &Run{w, dir}
}

// commit is that of the source, "" if there is none.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "" // a source tree without its repository
	}
	return string(bytes.TrimSpace(out))
}

func machine() string {
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		kernel = nil // not on Linux
	}
	return strings.TrimSpace(fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), kernel))
}

// Finish ends the history, judges it and keeps the verdict beside it.
func (r *Run) Finish(t testing.TB) *Verdict {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Fatalf("history: %v", err)
	}
	v, err := JudgeDir(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// JudgeDir judges the history of a run directory and writes the verdict beside it.
func JudgeDir(dir string) (*Verdict, error) {
	v, err := Judge(filepath.Join(dir, FileName))
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return v, os.WriteFile(filepath.Join(dir, verdictName), append(text, '\n'), 0o644)
}
