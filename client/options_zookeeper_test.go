//go:build linux

package client_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
)

// ZooKeeper tells which time-out each of its clients has got: that of the address, and of the option before it.
func TestZooKeeper_TimeoutsAreThoseOfTheAddressAndOfTheOptions(t *testing.T) {
	c := startCluster(t)
	got := func(millis int) bool {
		text, err := c.Ask("cons")
		return err == nil && strings.Contains(text, fmt.Sprintf("to=%d,", millis))
	}
	for millis, open := range map[int]func(){
		3100: func() { producer(t, c.addr+"?sessionTimeout=3100ms") },
		3200: func() {
			producer(t, c.addr+"?sessionTimeout=9s", client.WithProducerZooKeeper(client.ZooKeeper{SessionTimeout: 3200 * time.Millisecond}))
		},
		3300: func() {
			consumer(t, c.addr, "g", "t", client.WithConsumerZooKeeper(client.ZooKeeper{SessionTimeout: 3300 * time.Millisecond, ConnectTimeout: time.Second}))
		},
		3400: func() {
			consumer(t, c.addr+"?connectTimeout=1s&sessionTimeout=3400ms", "g", "t", client.WithConsumerZooKeeper(client.ZooKeeper{ConnectTimeout: 2 * time.Second}))
		},
	} {
		if got(millis) {
			t.Fatalf("there is a session of %d ms before", millis)
		}
		open()
		eventually(t, fmt.Sprintf("there is a session of %d ms", millis), func() bool { return got(millis) })
	}
}

func TestZooKeeper_RefusesTimeoutsThatMeanNothing(t *testing.T) {
	const addr = "zk://127.0.0.1:1"
	_, err := client.NewProducer(addr, client.WithProducerZooKeeper(client.ZooKeeper{SessionTimeout: -time.Second}))
	if err == nil || !strings.Contains(err.Error(), "SessionTimeout: a time-out of -1s") {
		t.Errorf("producer: %v", err)
	}
	_, err = client.NewConsumer(addr, "g", []string{"t"}, client.WithConsumerZooKeeper(client.ZooKeeper{ConnectTimeout: time.Microsecond}))
	if err == nil || !strings.Contains(err.Error(), "ConnectTimeout: a time-out of 1µs") {
		t.Errorf("consumer: %v", err)
	}
	if _, err = client.NewProducer(addr + "?sessionTimeout=5"); err == nil || !strings.Contains(err.Error(), "sessionTimeout=5") {
		t.Errorf("address: %v", err)
	}
}
