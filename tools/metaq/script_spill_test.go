//go:build linux

package main

import (
	"context"
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
