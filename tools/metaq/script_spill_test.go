//go:build linux

package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metaq/metaq/client"
)

// spillCommand is "spill DIR BODY...": a producer of the ordered topic "big" accepts messages while its broker is away, so that they wait in DIR.
// "! spill DIR" sends what waits there to the broker of METAQ_BROKER, until nothing does.
func spillCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg != (len(args) == 1) {
		ts.Fatalf("usage: spill DIR BODY... or ! spill DIR")
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	addr, dir := "127.0.0.1:1", ts.MkAbs(args[0])
	if neg {
		addr = ts.Getenv(brokerEnv)
	}
	p, err := client.NewProducer(addr, client.WithOrdered(client.Ordered{Dir: dir, Partitions: map[string]map[int]int32{"big": {0: 1}}}))
	ts.Check(err)
	for _, body := range args[1:] {
		r, err := p.SendMessage(ctx, client.Message{Topic: "big", Attribute: "red", Body: []byte(strings.Repeat(body, 500))})
		ts.Check(err)
		if !r.Spilled {
			ts.Fatalf("%q was stored by a broker", body)
		}
	}
	if neg {
		eventually(ts, "the spill to be empty", func() bool {
			waiting, err := filepath.Glob(filepath.Join(dir, "*.spill"))
			ts.Check(err)
			return len(waiting) == 0
		})
	}
	ts.Check(p.Close(ctx))
}

// failCommand is "fail DIR TOPIC": a consumer of the broker of METAQ_BROKER whose handler fails, so that a message of the topic waits in DIR.
func failCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: fail DIR TOPIC")
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	defer cancel()
	c, err := client.NewConsumer(ts.Getenv(brokerEnv), "failing", args[1:], client.WithRecovery(client.Recovery{Dir: ts.MkAbs(args[0]), Attempts: 1}))
	ts.Check(err)
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(running, func(context.Context, client.Received) error { return errors.New("cannot") })
	}()
	eventually(ts, "a message to be stored", func() bool { return c.Recovery().Stored > 0 })
	stop()
	ts.Check(<-ended)
	ts.Check(c.Close(ctx))
}
