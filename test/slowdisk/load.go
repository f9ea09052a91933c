package slowdisk

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/test/wire"
)

// The load is offered at a steady rate, whatever the answers are: each connection puts one letter so often.
const (
	connections = 20
	putEvery    = 10 * time.Millisecond
	letterSize  = 4 << 10
)

// outcome is the answer to one put.
type outcome struct {
	code   int
	text   string
	sent   time.Time
	waited time.Duration
}

// load puts letters and keeps the answers, by connection and letter.
type load struct {
	stop chan struct{}
	all  sync.WaitGroup

	mu       sync.Mutex
	outcomes [connections][]outcome // guarded by mu
	err      error                  // guarded by mu
}

// queueOf is the partition of a connection.
func queueOf(i int) wire.Queue { return wire.Queue{Topic: "slow", Partition: i} }

// startLoad begins to put.
func startLoad(t *testing.T, addr string) *load {
	t.Helper()
	l := &load{stop: make(chan struct{})}
	for i := range connections {
		c, err := wire.Dial(addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		sent := make(chan int, 1)
		l.all.Go(func() { l.send(i, c, sent) })
		l.all.Go(func() { l.listen(i, c, sent) })
	}
	return l
}

func (l *load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// send puts until it is stopped, then `version` marks the end for listen.
func (l *load) send(i int, c *wire.Conn, sent chan<- int) {
	tick := time.NewTicker(putEvery)
	defer tick.Stop()
	q := queueOf(i)
	for n := 0; ; n++ {
		select {
		case <-l.stop:
			sent <- n
			if _, err := c.Net.Write([]byte("version 0\r\n")); err != nil {
				l.fail(err)
			}
			return
		case <-tick.C:
		}
		body := wire.Letter(q, int64(n), letterSize)
		l.mu.Lock()
		l.outcomes[i] = append(l.outcomes[i], outcome{sent: time.Now()})
		l.mu.Unlock()
		command := fmt.Appendf(nil, "put %s %d %d 0 %d\r\n", q.Topic, q.Partition, len(body), n+1)
		if _, err := c.Net.Write(append(command, body...)); err != nil {
			l.fail(err)
			sent <- n
			return
		}
	}
}

// listen reads the answers, which may overtake each other, until every put has one.
func (l *load) listen(i int, c *wire.Conn, sent <-chan int) {
	for n, want := 0, -1; n != want; {
		a, err := c.Read()
		if err != nil {
			l.fail(err)
			return
		}
		if a.Opaque == 0 {
			want = <-sent
			continue
		}
		l.mu.Lock()
		o := &l.outcomes[i][a.Opaque-1]
		o.code, o.text, o.waited = a.Code, string(a.Body), time.Since(o.sent)
		l.mu.Unlock()
		n++
	}
}

// end stops the load and returns the outcomes once every put has one.
func (l *load) end(t *testing.T) [connections][]outcome {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	if l.err != nil {
		t.Fatal(l.err)
	}
	for _, o := range slices.Concat(l.outcomes[:]...) {
		if o.code != 200 && o.code != 503 && o.code != 504 {
			t.Fatalf("a put was answered %d %s", o.code, o.text)
		}
	}
	return l.outcomes
}

// answeredOK tells whether a put that was sent after a time has been acknowledged.
func (l *load) answeredOK(after time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range l.outcomes {
		for _, o := range slices.Backward(list) {
			if o.sent.Before(after) {
				break
			}
			if o.code == 200 {
				return true
			}
		}
	}
	return false
}

// percentile is the time below which the given part of the puts with a code was answered.
func percentile(all [connections][]outcome, code int, part float64) time.Duration {
	var list []time.Duration
	for _, outcomes := range all {
		for _, o := range outcomes {
			if o.code == code {
				list = append(list, o.waited)
			}
		}
	}
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[int(part*float64(len(list)-1))]
}

// count is how many puts were answered with a code.
func count(all [connections][]outcome, code int) (n int) {
	for _, outcomes := range all {
		for _, o := range outcomes {
			if o.code == code {
				n++
			}
		}
	}
	return n
}
