//go:build linux

package main

import (
	"context"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// scriptSession connects to the ZooKeeper of the scripts until the script ends.
func scriptSession(ts *testscript.TestScript) (*zkcoord.Session, context.Context) {
	s, err := zkcoord.Connect(zkcoord.Config{Connect: ts.Getenv("ZK")})
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), scriptPatience)
	ts.Defer(func() {
		cancel()
		s.Close()
	})
	return s, ctx
}

// registerCommand is "register ID TOPIC PARTITIONS": it registers the broker of METAQ_BROKER in ZooKeeper until the script ends.
func registerCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: register ID TOPIC PARTITIONS")
	}
	id, err := strconv.Atoi(args[0])
	ts.Check(err)
	partitions, err := strconv.ParseInt(args[2], 10, 32)
	ts.Check(err)
	s, ctx := scriptSession(ts)
	b := zkcoord.RegisterBroker(s, zkcoord.DefaultRoot, zkcoord.BrokerInfo{ID: id, Addr: ts.Getenv(brokerEnv), Checksum: 7}, nil)
	b.SetTopics(map[protocol.Topic]zkcoord.TopicOffer{protocol.Topic(args[1]): {Partitions: int32(partitions), Publish: true, Subscribe: true}})
	ts.Check(b.Await(ctx))
	ts.Defer(func() {
		ctx, cancel := context.WithTimeout(context.Background(), scriptPatience) // that of the session was for the beginning of the script
		defer cancel()
		ts.Check(b.Unregister(ctx))
	})
}

// nodeCommand is "node PATH [DATA]": it makes a persistent node in ZooKeeper. "! node PATH" removes one.
func nodeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || len(args) > 2 {
		ts.Fatalf("usage: [!] node PATH [DATA]")
	}
	s, ctx := scriptSession(ts)
	if neg {
		ts.Check(s.Delete(ctx, args[0], zkcoord.AnyVersion))
		return
	}
	ts.Check(s.Create(ctx, args[0], []byte(append(args, "")[1]), zkcoord.Persistent))
}
