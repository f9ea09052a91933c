package sql_test

import (
	"database/sql"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

const (
	startBound = 60 * time.Second
	pollEvery  = 20 * time.Millisecond
)

// server is a database server of one test, on a port and a directory of its own.
type server struct {
	host, port string // the same after a restart
	dir        string
	command    func(*server) *exec.Cmd
	open       func(*server) (*sql.DB, error)
	stop       syscall.Signal // ends it at once, with everything it has started

	cmd    *exec.Cmd
	exited chan struct{}
}

// start starts a server, which ends with the test. prepare fills its directory.
func (s *server) start(t testing.TB, prepare func(*server) *exec.Cmd) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s.host, s.port, err = net.SplitHostPort(addr); err != nil {
		t.Fatal(err)
	}
	s.dir = t.TempDir()
	if prepare != nil {
		if text, err := prepare(s).CombinedOutput(); err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
	}
	t.Cleanup(func() { s.end(t) })
	s.restart(t)
	return s
}

// restart starts a server that does not run, and waits until it answers.
func (s *server) restart(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = s.command(s)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		_ = cmd.Wait() // it is killed
		close(exited)
	}(s.cmd, s.exited)
	db, err := s.open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for bound := time.After(startBound); ; {
		if err = db.Ping(); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-s.exited:
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("%s has ended:\n%s", s.cmd.Path, text)
		case <-bound:
			t.Fatalf("%s does not answer: %v", s.cmd.Path, err)
		}
	}
}

func (s *server) end(t testing.TB) {
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(s.stop); err != nil {
		t.Errorf("end %s: %v", s.cmd.Path, err)
	}
	<-s.exited
	s.cmd = nil
}

// as makes a command run as a user of the system if this is root, which the database servers refuse. dir becomes this user's.
func as(t testing.TB, name, dir string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	cmd.Dir = dir
	if os.Getuid() != 0 {
		return cmd
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	// The directory above is the test's too.
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	return cmd
}

// program finds a program where Debian installs it.
func program(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatalf("there is no %s: run scripts/test-setup.sh as root", pattern)
	}
	return found[len(found)-1]
}
