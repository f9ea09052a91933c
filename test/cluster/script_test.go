package cluster

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/metaq/metaq/test/process"
)

// script is scripts/cluster.sh as `make cluster` runs it, on free ports.
type script struct {
	cmd          *exec.Cmd
	metaq        string
	port, zkPort int
	said         string // the file of its output
	ended        chan error
}

func startScript(t *testing.T) *script {
	t.Helper()
	dir := t.TempDir()
	// HTTP is at port-3 and port+7.
	s := &script{metaq: process.Binary(t, ""), port: freePorts(t, 0, 1, -3, 7), zkPort: freePorts(t, 0), said: filepath.Join(dir, "said"), ended: make(chan error, 1)}
	out, err := os.Create(s.said)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	s.cmd = exec.Command("../../scripts/cluster.sh", filepath.Join(dir, "data"))
	s.cmd.Env = append(os.Environ(), "METAQ="+s.metaq, fmt.Sprint("PORT=", s.port), fmt.Sprint("ZK_PORT=", s.zkPort))
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // everything it starts can be told by the session
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() {
		for _, pid := range s.running(t) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
		if t.Failed() {
			t.Logf("the script said:\n%s", s.output(t))
		}
	})
	return s
}

// freePorts finds a port so that nobody listens there and at these distances from it. It lies below those that the kernel gives to connections, which could
// take it while a broker is away.
func freePorts(t *testing.T, distances ...int) int {
	t.Helper()
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if !slices.ContainsFunc(distances, func(d int) bool { return taken(port + d) }) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func taken(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return true
	}
	l.Close()
	return false
}

// running lists the processes of the script's session, but not those that have ended and are not waited for.
func (s *script) running(t *testing.T) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		// PID (NAME) STATE PPID PGRP SESSION ..., and the name may hold anything.
		words := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(words) < 4 || words[3] != strconv.Itoa(s.cmd.Process.Pid) || words[0] == "Z" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func (s *script) output(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.said)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says waits until the script has said something, and returns what the brackets of the pattern hold.
func (s *script) says(t *testing.T, pattern string) (found string) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	await(t, "the script to say "+pattern, func() bool {
		select {
		case err := <-s.ended:
			t.Fatalf("the script has ended: %v", err)
		default:
		}
		m := re.FindStringSubmatch(s.output(t))
		if m != nil {
			found = m[1]
		}
		return m != nil
	})
	return found
}

// run runs a command line, with the ports and the binary of this cluster for those of the documents.
func (s *script) run(line string) (string, error) {
	line = strings.NewReplacer("bin/metaq", s.metaq, "127.0.0.1:2181", fmt.Sprint("127.0.0.1:", s.zkPort),
		"127.0.0.1:8123", fmt.Sprint("127.0.0.1:", s.port), "127.0.0.1:8124", fmt.Sprint("127.0.0.1:", s.port+1)).Replace(line)
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	return string(out), err
}

func (s *script) mustRun(t *testing.T, line string) string {
	t.Helper()
	out, err := s.run(line)
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return out
}

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// readmeCommands are the command lines that the README gives for another terminal, beside `make cluster`.
func readmeCommands(t *testing.T) (lines []string) {
	t.Helper()
	_, section, ok := strings.Cut(readme(t), "\n## A cluster\n")
	if !ok {
		t.Fatal("README.md has no section on a cluster")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	for line := range strings.Lines(section) {
		if command, ok := strings.CutPrefix(line, "    bin/metaq "); ok {
			lines = append(lines, "bin/metaq "+strings.TrimSpace(command))
		}
	}
	if len(lines) < 4 {
		t.Fatalf("the section has the commands %q", lines)
	}
	return lines
}

// What the README promises of `make cluster`: its commands work, a broker that is killed comes back, Ctrl-C ends everything.
func TestScript_AClusterToTryThingsOn(t *testing.T) {
	s := startScript(t)
	pid, err := strconv.Atoi(s.says(t, `broker 1 .*\(pid (\d+),`))
	if err != nil {
		t.Fatal(err)
	}
	s.says(t, `(Ctrl-C) stops it`)
	for _, line := range readmeCommands(t) {
		s.mustRun(t, line)
	}
	for _, place := range []string{"0-0", "0-1", "1-0", "1-1"} {
		s.mustRun(t, "bin/metaq put greetings before-"+place+" --partition "+place+" --zk 127.0.0.1:2181")
	}

	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for i := range 4 { // goes around it
		s.mustRun(t, fmt.Sprintf("bin/metaq put greetings away-%d --zk 127.0.0.1:2181", i))
	}
	if again := s.says(t, `broker 1 is started again \(pid (\d+)\)`); again == strconv.Itoa(pid) {
		t.Errorf("it has the process id %s as before", again)
	}
	await(t, "broker 1 to take messages again", func() bool {
		_, err := s.run("bin/metaq put greetings back --partition 1-0 --timeout 2s --zk 127.0.0.1:2181")
		return err == nil
	})
	got := s.mustRun(t, "bin/metaq get greetings --zk 127.0.0.1:2181")
	for _, body := range []string{"before-0-0", "before-0-1", "before-1-0", "before-1-1", "away-0", "away-1", "away-2", "away-3", "back"} {
		if !strings.Contains(got, body+"\n") {
			t.Errorf("%s is not there", body)
		}
	}

	s.interrupt(t)
}

// The Go program of the README, as its section on clusters says: run twice, it is a group.
func TestScript_TheProgramOfTheReadme(t *testing.T) {
	_, program, _ := strings.Cut(readme(t), "\n```go\n")
	program, _, ok := strings.Cut(program, "\n```\n")
	const alone = `"127.0.0.1:8123"`
	if n := strings.Count(program, alone); !ok || n != 2 {
		t.Fatalf("the README has no program with %s twice", alone)
	}
	s := startScript(t)
	s.says(t, `(Ctrl-C) stops it`)
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "hello.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(source, []byte(strings.ReplaceAll(program, alone, fmt.Sprintf(`"zk://127.0.0.1:%d"`, s.zkPort))), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("the program of the README: %v\n%s", err, out)
	}
	var members []*exec.Cmd
	for range 2 {
		m := exec.Command(binary)
		m.Stderr = t.Output()
		out, err := os.Create(filepath.Join(dir, fmt.Sprint("printed", len(members))))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		m.Stdout = out
		if err := m.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Process.Kill() }) // it may have ended
		members = append(members, m)
	}
	twoEach := regexp.MustCompile(`(?m)^readers_.* greetings/.-. greetings/.-.$`)
	await(t, "the two share the partitions", func() bool {
		out, _ := s.run("bin/metaq groups readers --zk 127.0.0.1:2181") // until they are there, it says so
		return len(twoEach.FindAllString(out, -1)) == 2
	})
	var want []string
	for _, place := range []string{"0-0", "0-1", "1-0", "1-1"} {
		want = append(want, "to "+place)
		s.mustRun(t, "bin/metaq put greetings 'to "+place+"' --partition "+place+" --zk 127.0.0.1:2181")
	}
	printed := func() string {
		var all []byte
		for i := range members {
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("printed", i)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		return string(all)
	}
	await(t, "all is printed", func() bool {
		now := printed()
		return strings.Count(now, "hello from Go\n") == 2 && !slices.ContainsFunc(want, func(line string) bool { return !strings.Contains(now, line+"\n") })
	})
	for _, m := range members {
		if err := m.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(); err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	}
	if got := s.mustRun(t, "bin/metaq lag readers --zk 127.0.0.1:2181"); !regexp.MustCompile(`(?m)^total +0 +0 `).MatchString(got) {
		t.Errorf("it has not kept how far it has read:\n%s", got)
	}
	s.interrupt(t)
}

func TestScript_CtrlCWhileABrokerIsAway(t *testing.T) {
	s := startScript(t)
	pid, err := strconv.Atoi(s.says(t, `broker 0 .*\(pid (\d+),`))
	if err != nil {
		t.Fatal(err)
	}
	s.says(t, `(Ctrl-C) stops it`)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.says(t, `(broker 0 has ended)`)
	s.interrupt(t)
}

// interrupt ends the script as Ctrl-C does, and checks that nothing is left.
func (s *script) interrupt(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var ended error
	await(t, "the script to end", func() bool {
		select {
		case ended = <-s.ended:
			return true
		default:
			return false
		}
	})
	if ended != nil {
		t.Errorf("it ended with %v", ended)
	}
	if left := s.running(t); len(left) > 0 {
		t.Errorf("the processes %v are left", left)
	}
}
