//go:build linux

package client_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/test/process"
)

func ordered(dir string) client.ProducerOption {
	return client.WithOrdered(client.Ordered{Dir: dir, Partitions: map[string]map[int]int32{"t": {0: 1}}})
}

func sendNumber(t testing.TB, p *client.Producer, i int) client.Receipt {
	t.Helper()
	r, err := p.Send(testContext(t), "t", fmt.Append(nil, i))
	if err != nil {
		t.Fatalf("message %d: %v", i, err)
	}
	return r
}

// checkOrder checks that all numbers below n are there and that each comes for the first time in order.
func checkOrder(t *testing.T, bodies []string, n int) {
	t.Helper()
	next := 0
	for _, body := range bodies {
		i, err := strconv.Atoi(body)
		if err != nil {
			continue // not one of the numbers
		}
		if i > next {
			t.Fatalf("message %d comes before %d", i, next)
		}
		if i == next {
			next++
		}
	}
	if next != n {
		t.Errorf("%d of %d messages are there", next, n)
	}
}

// awaitSent sends numbers from i on until one is stored by the broker: then everything that waited is.
func awaitSent(t *testing.T, p *client.Producer, i int) (next int) {
	t.Helper()
	for {
		r := sendNumber(t, p, i)
		i++
		if !r.Spilled {
			return i
		}
	}
}

func TestOrdered_KeepsTheOrderOverAnOutageAndOverProducers(t *testing.T) {
	c := startCluster(t)
	b := process.Start(t, process.Options{})
	c.register(t, 0, b.Addr, 1)
	dir := t.TempDir()
	p := producer(t, c.addr, ordered(dir))
	i := awaitSent(t, p, 0)
	b.Kill(t)
	for range 20 {
		if r := sendNumber(t, p, i); !r.Spilled {
			t.Errorf("message %d: %+v, and there is no broker", i, r)
		}
		i++
	}
	if _, err := client.NewProducer(c.addr, ordered(dir)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a second producer with the same directory: %v", err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	p = producer(t, c.addr, ordered(dir))
	for range 20 {
		sendNumber(t, p, i)
		i++
	}
	b.Restart(t)
	i = awaitSent(t, p, i)
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	checkOrder(t, everything(t, b.Addr), i)
}

func TestOrdered_AStuckBroker(t *testing.T) {
	c := startCluster(t)
	b := process.Start(t, process.Options{})
	c.register(t, 0, b.Addr, 1)
	p := producer(t, c.addr, ordered(t.TempDir()))
	i := awaitSent(t, p, 0)
	b.Signal(t, syscall.SIGSTOP)
	for range 5 {
		began := time.Now()
		if r := sendNumber(t, p, i); !r.Spilled || time.Since(began) > 3*time.Second {
			t.Errorf("message %d after %s: %+v", i, time.Since(began), r)
		}
		i++
	}
	b.Signal(t, syscall.SIGCONT)
	i = awaitSent(t, p, i)
	checkOrder(t, everything(t, b.Addr), i)
}

func TestOrdered_SaysThatTheSpillIsFull(t *testing.T) {
	b := metaqtest.Start(t)
	down := strings.Replace(b.Addr, "127.0.0.1", "127.0.0.2", 1) // nobody listens there
	p := producer(t, down, client.WithOrdered(client.Ordered{Dir: t.TempDir(), MaxBytes: 1000, Partitions: map[string]map[int]int32{"t": {0: 1}}}))
	for range 8 {
		if r, err := p.Send(testContext(t), "t", make([]byte, 100)); err != nil || !r.Spilled {
			t.Fatal(r, err)
		}
	}
	if _, err := p.Send(testContext(t), "t", make([]byte, 100)); !errors.Is(err, client.ErrSpillFull) || !strings.Contains(err.Error(), "the limit is 1000") {
		t.Errorf("more than the limit: %v", err)
	}
	if _, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(3)}); err == nil || !strings.Contains(err.Error(), "0-3") {
		t.Errorf("a partition that is not configured: %v", err)
	}
}

// The broker says nothing, and the disk takes nothing either: everything that waits fails at once, with the reason.
func TestOrdered_ADiskThatFailsWhileMuchWaits(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dir := t.TempDir() + "/spill"
	p := producer(t, silent.Addr().String(), ordered(dir))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	const messages = 40_000
	body := make([]byte, 1<<10)
	failed, ctx := make(chan error, messages), testContext(t)
	for range messages {
		p.SendAsync(client.Message{Topic: "t", Body: body}, func(_ client.Receipt, err error) { failed <- err })
	}
	for i := range messages {
		select {
		case err := <-failed:
			if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "t.0-0") {
				t.Fatalf("a message failed with %v", err)
			}
		case <-ctx.Done():
			t.Fatalf("%d of %d messages have failed by now", i, messages)
		}
	}
}

// What a broker refuses for good after it was accepted holds up nothing, and is kept.
func TestOrdered_AMessageThatIsRefusedForGood(t *testing.T) {
	b := metaqtest.Start(t, metaqtest.Set("maxMessageSize", "1024"))
	dir := t.TempDir()
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := producer(t, b.Addr, ordered(dir))
	i := awaitSent(t, p, 0)
	if _, err := p.Send(testContext(t), "t", make([]byte, 2000)); err == nil {
		t.Error("a message that is too large was stored")
	}
	if err := conn.ClosePartitions(testContext(t), "t", 0, 0); err != nil {
		t.Fatal(err)
	}
	if r := sendNumber(t, p, i); !r.Spilled {
		t.Errorf("the partition is closed: %+v", r)
	}
	i++
	if r, err := p.Send(testContext(t), "t", make([]byte, 2000)); err != nil || !r.Spilled {
		t.Errorf("%+v, %v", r, err)
	}
	if err := conn.OpenPartitions(testContext(t), "t", 0, 0); err != nil {
		t.Fatal(err)
	}
	i = awaitSent(t, p, i)
	if info, err := os.Stat(dir + "/t.0-0.refused"); err != nil || info.Size() != 2012 {
		t.Errorf("what was refused: %v, %v", info, err)
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	checkOrder(t, everything(t, b.Addr), i)
}

// Why messages go to the disk is logged, once, and that they go to the broker again.
func TestOrdered_SaysWhyMessagesAreSpilled(t *testing.T) {
	b := metaqtest.Start(t)
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var log lockedBuffer
	p := producer(t, b.Addr, ordered(t.TempDir()), client.WithProducerLog(slog.New(slog.NewTextHandler(&log, nil))))
	i := awaitSent(t, p, 0)
	if err := conn.ClosePartitions(testContext(t), "t", 0, 0); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if r := sendNumber(t, p, i); !r.Spilled {
			t.Errorf("the partition is closed: %+v", r)
		}
		i++
	}
	if err := conn.OpenPartitions(testContext(t), "t", 0, 0); err != nil {
		t.Fatal(err)
	}
	awaitSent(t, p, i)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "has been closed") || !strings.Contains(lines[0], "partition=0-0") || !strings.Contains(lines[1], "level=INFO") {
		t.Errorf("logged:\n%s", log.String())
	}
}

// orderedChild names the address and the directory for the process that TestOrdered_AKilledProducer kills.
const orderedChild = "CLIENT_ORDERED_CHILD"

// A producer that is killed with kill -9 loses nothing that it has accepted: the next one sends it, before anything newer.
func TestOrdered_AKilledProducer(t *testing.T) {
	if job := os.Getenv(orderedChild); job != "" {
		produceUntilKilled(t, job)
		return
	}
	c := startCluster(t)
	b := process.Start(t, process.Options{})
	c.register(t, 0, b.Addr, 1)
	dir := t.TempDir()
	accepted := -1
	run := func(begin int, until func(accepted int, spilled bool) bool) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run", "^TestOrdered_AKilledProducer$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", orderedChild, c.addr, dir, begin))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var i int
			var spilled bool
			if _, err := fmt.Sscanf(lines.Text(), "accepted %d %t", &i, &spilled); err != nil {
				continue
			}
			accepted = i
			if !ended && until(i, spilled) {
				ended = true
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait() // it is killed
		if !ended {
			t.Fatal("the producer ended by itself")
		}
	}
	run(0, func(i int, spilled bool) bool {
		if i == 20 {
			b.Kill(t)
		}
		return i >= 60 && spilled
	})
	run(accepted+1, func(i int, spilled bool) bool { return i >= 90 })
	b.Restart(t)
	p := producer(t, c.addr, ordered(dir))
	n := awaitSent(t, p, accepted+1)
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	// The number after the last accepted one may have been on its way twice, with the same body.
	checkOrder(t, everything(t, b.Addr), n)
}

func produceUntilKilled(t *testing.T, job string) {
	var addr, dir string
	var i int
	if _, err := fmt.Sscan(job, &addr, &dir, &i); err != nil {
		t.Fatal(err)
	}
	p, err := client.NewProducer(addr, ordered(dir))
	if err != nil {
		t.Fatal(err)
	}
	for ; ; i++ {
		r, err := p.Send(context.Background(), "t", fmt.Append(nil, i))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("accepted %d %t\n", i, r.Spilled)
	}
}

// While the oldest message on disk cannot be read, its partition takes no more, and says why; moving the file away frees it.
func TestOrdered_AFileThatRotsWhileTheProducerRuns(t *testing.T) {
	b := process.Start(t, process.Options{})
	dir := t.TempDir()
	var logged lockedBuffer
	ordered := client.WithOrdered(client.Ordered{Dir: dir, Partitions: map[string]map[int]int32{"t": {0: 2}}})
	p := producer(t, b.Addr, ordered, client.WithProducerLog(slog.New(slog.NewTextHandler(&logged, nil))))
	send := func(p *client.Producer, partition int32, body string) (client.Receipt, error) {
		return p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(partition), Body: []byte(body)})
	}
	b.Kill(t)
	for _, body := range []string{"one", "two"} {
		if r, err := send(p, 0, body); err != nil || !r.Spilled {
			t.Fatal(r, err)
		}
	}
	name := dir + "/t.0-0.00000001.spill"
	rot(t, name, "two")
	b.Restart(t)
	var err error
	for began := time.Now(); err == nil; {
		if _, err = send(p, 0, "three"); time.Since(began) > 10*time.Second {
			t.Fatal("messages are taken that can never be sent")
		}
	}
	if want := name + ": damaged at byte"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "move this file away") {
		t.Errorf("%v, want %s, and what to do", err, want)
	}
	for began := time.Now(); time.Since(began) < 2500*time.Millisecond; { // it is tried again and again meanwhile
		asked := time.Now()
		if _, again := send(p, 0, "three"); again == nil || again.Error() != err.Error() || time.Since(asked) > time.Second {
			t.Fatalf("again, after %s: %v", time.Since(asked), again)
		}
		if _, err := send(p, 1, "other"); err != nil {
			t.Errorf("another partition: %v", err)
		}
	}
	if err := p.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logged.String(), "cannot be read"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, logged.String())
	}
	if _, err := client.NewProducer(b.Addr, ordered); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("opened with the damaged file: %v", err)
	}
	if err := os.Rename(name, t.TempDir()+"/kept"); err != nil {
		t.Fatal(err)
	}
	if r, err := send(producer(t, b.Addr, ordered), 0, "four"); err != nil || r.Spilled {
		t.Errorf("after the file was moved away: %+v, %v", r, err)
	}
}

// lockedBuffer takes a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
