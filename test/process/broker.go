package process

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startBound = 60 * time.Second // recovery of a large log included
	stopBound  = 60 * time.Second
	pollEvery  = 2 * time.Millisecond
	logShown   = 4 << 10 // bytes of the broker's log that a failed test prints
)

// Options say how a broker is started. The zero value is a broker on its defaults.
type Options struct {
	Config string   // text of the configuration file; "" = none
	Data   string   // data directory; "" = a new one
	Args   []string // more arguments of `metaq serve`
	Tags   string   // build tags of the binary, as `go build -tags` takes them
	Under  []string // a command that runs the broker, as prlimit does; the broker's command line follows it
}

// A Broker is a running (or killed) metaq process. It is for one goroutine.
type Broker struct {
	Addr     string // the same after a restart
	HTTPAddr string
	Data     string
	// Start is how long the last start took until both ports answered.
	Start time.Duration
	// Env holds more variables of the process, NAME=value. A change counts from the next start on.
	Env []string
	// BootID is what the process takes for the id of the machine's boot, "" for the real one: the broker tells a power cut by it. A change
	// counts from the next start on. It is mounted over the kernel's file in a name space of the process's own, which takes root.
	BootID string

	binary string
	folder string
	under  []string
	args   []string
	cmd    *exec.Cmd
	exited chan error // receives the end of cmd once
	log    *os.File
}

// Start runs a broker on free ports and waits until it is ready. It is killed when the test ends.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	b := prepare(t, o)
	b.run(t, "0", "0")
	return b
}

// Attempt is Start for a broker that may refuse to start. If it has ended by itself, b is nil and refused is what it wrote.
func Attempt(t testing.TB, o Options) (b *Broker, refused string) {
	t.Helper()
	b = prepare(t, o)
	if err := b.launch(t, "0", "0"); err == nil {
		return b, ""
	}
	text, err := os.ReadFile(b.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return nil, string(text)
}

// prepare makes everything that a broker needs to be run.
func prepare(t testing.TB, o Options) *Broker {
	t.Helper()
	b := &Broker{binary: Binary(t, o.Tags), folder: t.TempDir(), Data: o.Data, under: o.Under}
	if b.Data == "" {
		b.Data = filepath.Join(b.folder, "data")
	}
	b.args = append([]string{"serve", "--data", b.Data, "--ready-file", b.readyFile()}, o.Args...)
	if o.Config != "" {
		name := filepath.Join(b.folder, "server.ini")
		if err := os.WriteFile(name, []byte(o.Config), 0o644); err != nil {
			t.Fatal(err)
		}
		b.args = append(b.args, "--config", name)
	}
	log, err := os.Create(filepath.Join(b.folder, "log"))
	if err != nil {
		t.Fatal(err)
	}
	b.log = log
	t.Cleanup(func() { b.cleanup(t) })
	return b
}

func (b *Broker) readyFile() string { return filepath.Join(b.folder, "ready") }

// run starts the process and waits until it says that it is ready.
func (b *Broker) run(t testing.TB, port, httpPort string) {
	t.Helper()
	if err := b.launch(t, port, httpPort); err != nil {
		t.Fatalf("the broker ended while it started: %v", err)
	}
}

// bootIDFile is where the kernel tells the id of the boot.
const bootIDFile = "/proc/sys/kernel/random/boot_id"

// command is the process that is to be started.
func (b *Broker) command(t testing.TB, line []string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(line[0], line[1:]...)
	if b.BootID != "" {
		name := filepath.Join(b.folder, "boot_id")
		if err := os.WriteFile(name, []byte(b.BootID+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		script := "mount --bind " + name + " " + bootIDFile + ` && exec "$0" "$@"`
		cmd = exec.Command("unshare", append([]string{"--mount", "sh", "-c", script}, line...)...)
	}
	cmd.Env = append(environ(), b.Env...)
	cmd.Stdout, cmd.Stderr = b.log, b.log
	return cmd
}

// environ is the environment without the settings of tests, which the broker would take for mistyped ones of its own.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"METAQ_CHAOS", "METAQ_SEED", "METAQ_FIGURES"}, name)
	})
}

// launch starts the process and waits until it is ready. The error is that it ended before.
func (b *Broker) launch(t testing.TB, port, httpPort string) error {
	t.Helper()
	if err := os.Remove(b.readyFile()); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	begin := time.Now()
	line := append(append(b.under[:len(b.under):len(b.under)], b.binary), b.args...)
	b.cmd = b.command(t, append(line, "--port", port, "--http-port", httpPort))
	if err := b.cmd.Start(); err != nil {
		t.Fatalf("start the broker: %v", err)
	}
	exited := make(chan error, 1)
	b.exited = exited
	go func(cmd *exec.Cmd) { exited <- cmd.Wait() }(b.cmd)

	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	bound := time.After(startBound)
	for {
		select {
		case err := <-b.exited:
			b.cmd = nil
			return fmt.Errorf("end of the process: %w", err)
		case <-bound:
			t.Fatalf("the broker was not ready after %s", startBound)
		case <-poll.C:
			text, err := os.ReadFile(b.readyFile())
			if err != nil {
				continue
			}
			b.Start = time.Since(begin)
			if err := b.readAddresses(string(text)); err != nil {
				t.Fatal(err)
			}
			return nil
		}
	}
}

// readAddresses reads the two lines of the ready file.
func (b *Broker) readAddresses(text string) error {
	b.Addr, b.HTTPAddr = "", ""
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "METAQ_BROKER":
			b.Addr = value
		case "HTTP_ADDRESS":
			b.HTTPAddr = value
		}
	}
	if b.Addr == "" || b.HTTPAddr == "" {
		return fmt.Errorf("ready file %q: an address is missing", text)
	}
	return nil
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// Kill ends the process as a crash does, kill -9, and waits until it is gone.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	if b.cmd == nil {
		t.Fatal("the broker is not running")
	}
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatalf("kill the broker: %v", err)
	}
	b.await(t)
}

// Stop asks the process to drain and end, and fails the test when it does not exit with 0.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if b.cmd == nil {
		t.Fatal("the broker is not running")
	}
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("stop the broker: %v", err)
	}
	if err := b.await(t); err != nil {
		t.Fatalf("the broker did not stop in order: %v", err)
	}
}

func (b *Broker) await(t testing.TB) error {
	t.Helper()
	select {
	case err := <-b.exited:
		b.cmd = nil
		return err
	case <-time.After(stopBound):
		t.Fatalf("the broker did not end within %s", stopBound)
		return nil
	}
}

// Restart runs the broker again on the same ports and data, after Kill or Stop.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	if b.cmd != nil {
		t.Fatal("the broker is still running")
	}
	b.run(t, portOf(b.Addr), portOf(b.HTTPAddr))
}

// TryRestart is Restart for a process that may end while it starts, which is the error.
func (b *Broker) TryRestart(t testing.TB) error {
	t.Helper()
	if b.cmd != nil {
		t.Fatal("the broker is still running")
	}
	return b.launch(t, portOf(b.Addr), portOf(b.HTTPAddr))
}

// Signal sends a signal to the process.
func (b *Broker) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if b.cmd == nil {
		t.Fatal("the broker is not running")
	}
	if err := b.cmd.Process.Signal(s); err != nil {
		t.Fatalf("%s for the broker: %v", s, err)
	}
}

// Ended waits until the process ends by itself, at most for a time. err is how it ended.
func (b *Broker) Ended(t testing.TB, bound time.Duration) (ended bool, err error) {
	t.Helper()
	if b.cmd == nil {
		t.Fatal("the broker is not running")
	}
	select {
	case err := <-b.exited:
		b.cmd = nil
		return true, err
	case <-time.After(bound):
		return false, nil
	}
}

// PID is the process id of the running broker.
func (b *Broker) PID() int { return b.cmd.Process.Pid }

// Reload gives the broker, which was started with a configuration, another one.
func (b *Broker) Reload(t testing.TB, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, "server.ini"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	b.Signal(t, syscall.SIGHUP)
}

// Tool runs a metaq command against this broker and returns what it wrote to standard output.
func (b *Broker) Tool(t testing.TB, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(b.binary, args...)
	cmd.Env = append(environ(), "METAQ_BROKER="+b.Addr)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("metaq %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

func (b *Broker) cleanup(t testing.TB) {
	if b.cmd != nil {
		// The process may have ended between the two calls; it is gone either way.
		_ = b.cmd.Process.Kill()
		<-b.exited
	}
	if t.Failed() {
		text, _ := os.ReadFile(b.log.Name())
		if len(text) > logShown {
			text = text[len(text)-logShown:]
		}
		t.Logf("end of the broker's log:\n%s", text)
		b.keep(t)
	}
	b.log.Close()
}

// keepVariable names a folder for what a failed test leaves: the broker's data and its whole log. It does not begin with METAQ_, as settings do.
const keepVariable = "KEEP_BROKER"

func (b *Broker) keep(t testing.TB) {
	dir := os.Getenv(keepVariable)
	if dir == "" {
		t.Logf("set %s to a folder to keep the broker's data and log", keepVariable)
		return
	}
	dir = filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(t.Name()), time.Now().UnixNano()))
	if err := os.CopyFS(dir, os.DirFS(b.folder)); err != nil {
		t.Logf("keep the broker's data: %v", err)
		return
	}
	t.Logf("the broker's data and log are in %s", dir)
}
