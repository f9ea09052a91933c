//go:build linux

// Package metaqtest starts a broker inside a test: a real one, with its log in a directory of the test.
//
//	b := metaqtest.Start(t)
//	p, err := client.NewProducer(b.Addr)
package metaqtest

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/server"
	"github.com/metaq/metaq/server/config"
)

// Broker is a running broker. It ends with the test.
type Broker struct {
	Addr     string // host:port of the text protocol
	HTTPAddr string // host:port of health and metrics

	t      testing.TB
	set    map[string]string
	server *server.Server
}

// An Option sets a key of the configuration.
type Option func(map[string]string)

// Set gives a key its value, as in server.ini: Set("numPartitions", "4"), Set("topic.orders.numPartitions", "8").
func Set(key, value string) Option { return func(m map[string]string) { m[key] = value } }

// Start starts a broker on free ports of 127.0.0.1, which makes topics at the first put and acknowledges after a flush. It fails the test
// if that does not work.
func Start(t testing.TB, opts ...Option) *Broker {
	t.Helper()
	b := &Broker{t: t, set: map[string]string{"serverPort": "0", "dashboardHttpPort": "0", "dataPath": t.TempDir(), "logSegmentSize": "4M"}}
	for _, o := range opts {
		o(b.set)
	}
	b.start()
	t.Cleanup(b.stop)
	return b
}

// Restart stops the broker in an orderly way and starts it again on the same address and data.
func (b *Broker) Restart() {
	b.t.Helper()
	host, port, err := net.SplitHostPort(b.Addr)
	if err != nil {
		b.t.Fatalf("metaqtest: %v", err)
	}
	b.set["hostName"], b.set["serverPort"] = host, port
	b.stop()
	b.start()
}

func (b *Broker) start() {
	b.t.Helper()
	cfg, err := config.Load("", nil, b.set)
	if err != nil {
		b.t.Fatalf("metaqtest: %v", err)
	}
	if b.server, err = server.New(cfg, zerolog.Nop()); err != nil {
		b.t.Fatalf("metaqtest: %v", err)
	}
	if err := b.server.Start(); err != nil {
		b.t.Fatalf("metaqtest: %v", err)
	}
	b.Addr, b.HTTPAddr = b.server.Addr(), b.server.HTTPAddr()
}

func (b *Broker) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := b.server.Shutdown(ctx); err != nil {
		b.t.Errorf("metaqtest: stop the broker: %v", err)
	}
}
