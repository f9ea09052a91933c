package crash

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/metaq/metaq/test/history"
	"github.com/metaq/metaq/test/wire"
)

// committer commits growing offsets for a group of a partition, and onlooker reads them back and looks where the partition ends.
type committer struct {
	run   *history.Run
	queue queue
	value int64
}

type onlooker struct {
	run   *history.Run
	queue queue
}

// lookEvery is the pace of both.
const lookEvery = 3 * time.Millisecond

func (c *committer) work(addr string) {
	e := history.Event{Proc: "c-" + c.queue.String(), F: history.Commit, Topic: c.queue.Topic, Part: c.queue.Partition, Group: group, Level: c.queue.level}
	eachTick(addr, func(conn *wire.Conn) error {
		c.value++
		e.Off = c.value
		return ask(c.run, conn, e, func(e *history.Event, _ wire.Answer) error { return nil },
			"commit %s %s %d %d 1", c.queue.Topic, group, c.queue.Partition, c.value)
	})
}

func (o *onlooker) work(addr string) {
	e := history.Event{Proc: "o-" + o.queue.String(), Topic: o.queue.Topic, Part: o.queue.Partition}
	number := func(e *history.Event, a wire.Answer) (err error) {
		e.Off, err = strconv.ParseInt(string(a.Body), 10, 64)
		return err
	}
	eachTick(addr, func(conn *wire.Conn) error {
		e.F, e.Group = history.End, ""
		if err := ask(o.run, conn, e, number, "offset %s %s %d %d 1", o.queue.Topic, group, o.queue.Partition, int64(math.MaxInt64)); err != nil {
			return err
		}
		e.F, e.Group = history.Position, group
		return ask(o.run, conn, e, number, "committed %s %s %d 1", o.queue.Topic, group, o.queue.Partition)
	})
}

// eachTick does something over one connection until that ends.
func eachTick(addr string, do func(*wire.Conn) error) {
	conn, err := wire.Dial(addr)
	if err != nil {
		return // the fault came first
	}
	defer conn.Close()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for do(conn) == nil {
		<-tick.C
	}
}

// ask does one operation and notes it. take reads the text of a 200.
func ask(run *history.Run, conn *wire.Conn, e history.Event, take func(*history.Event, wire.Answer) error, format string, args ...any) error {
	e.Type = history.Invoke
	run.Add(e)
	a, err := conn.Command(format, args...)
	e.Type, e.Status = history.OK, a.Code
	switch {
	case err != nil:
		e.Type, e.Err = history.Info, err.Error()
	case a.Code == 200:
		if err = take(&e, a); err != nil {
			e.Type, e.Err = history.Info, fmt.Sprintf("200 %q: %v", a.Body, err)
		}
	case a.Code == 404 && e.F == history.Position:
	case a.Code == 404 && e.F == history.End:
		e.Off = 0 // the partition was never written
	default:
		e.Type, e.Err = history.Info, string(a.Body)
	}
	run.Add(e)
	return err
}
