package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func cmdRun(args []string) error {
	fl := flag.NewFlagSet("run", flag.ExitOnError)
	kind := fl.String("peer", "metaq", "metaq | kafka | rocketmq | nats | echo")
	addr := fl.String("addr", "127.0.0.1:8123", "broker address (loopback)")
	do := fl.String("do", "produce", "produce | consume | e2e | put")
	parts := fl.Int("parts", 16, "partitions: MetaQ topic benchN, N streams, ...")
	conns := fl.Int("conns", 16, "producers or consumers")
	window := fl.Int("window", 1, "messages without an ack a producer")
	size := fl.Int("size", 1024, "payload bytes")
	dur := fl.Duration("duration", 3*time.Second, "length of the run")
	count := fl.Int64("count", 0, "messages (0: by duration)")
	rate := fl.Float64("rate", 0, "messages/s in all, open loop (e2e: 5000)")
	linger := fl.Duration("linger", 0, "Kafka producer linger")
	pid := fl.Int("pid", 0, "broker process (default: the listener on the port)")
	data := fl.String("data", "", "broker data directory, for bytes on disk")
	alone := fl.Bool("alone", false, "consume: only the partition in the middle, with one consumer")
	prep := fl.Bool("prepare", true, "make the partitions first")
	fl.Parse(args)
	if err := loopback(*addr); err != nil {
		return err
	}
	p, err := newPeer(*kind, *addr)
	if err != nil {
		return err
	}
	// A load that is told to end still prints what it has done.
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if *prep {
		if err := p.Prepare(ctx, *parts); err != nil {
			return err
		}
	}
	if *pid == 0 {
		*pid = listenerPID(*addr)
	}
	pc := produceCfg{Parts: *parts, Conns: *conns, Window: *window, Size: *size, Duration: *dur, Count: *count, Rate: *rate, Linger: *linger}
	if *count > 0 {
		pc.Duration = 0
	}
	g := measured(*kind, *do, 0, *pid, *data, func() (*loadStats, error) {
		switch *do {
		case "produce":
			return p.Produce(ctx, pc)
		case "consume":
			return p.Consume(ctx, consumeCfg{Parts: *parts, Consumers: *conns, Count: *count, Deadline: 120 * time.Second, Alone: *alone})
		case "e2e":
			if pc.Rate == 0 {
				pc.Rate = 5000
			}
			return e2e(ctx, p, pc)
		case "put":
			return &loadStats{Msgs: 1, Elapsed: 1}, p.Put(*parts, 5*time.Second)
		}
		return nil, fmt.Errorf("unknown --do %q", *do)
	})
	g.Files = openFiles(*pid)
	out, _ := json.Marshal(g)
	fmt.Println(string(out))
	if g.Err != "" {
		os.Exit(1)
	}
	return nil
}
