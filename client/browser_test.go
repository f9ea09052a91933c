//go:build linux

package client_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
)

func openBrowser(t testing.TB, addr, topic string, opts ...client.BrowserOption) *client.Browser {
	t.Helper()
	b, err := client.OpenBrowser(testContext(t), addr, topic, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// browse reads on, at most n messages, -1 for all.
func browse(t testing.TB, b *client.Browser, n int) (bodies []string) {
	t.Helper()
	for m, err := range b.Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if bodies = append(bodies, string(m.Body)); len(bodies) == n {
			break
		}
	}
	return bodies
}

func TestBrowser_ReadsToTheEndThatThereWas(t *testing.T) {
	broker := metaqtest.Start(t, metaqtest.Set("numPartitions", "3"))
	p := producer(t, broker.Addr)
	send := func(partition int32, body string) client.Receipt {
		t.Helper()
		r, err := p.SendMessage(testContext(t), client.Message{Topic: "t", Partition: client.At(partition), Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	large := strings.Repeat("x", 3<<20/2) // more than is asked for at a time
	var want []string
	var third client.Receipt
	for i := range 10 {
		body := fmt.Sprint("first ", i)
		if r := send(0, body); i == 3 {
			third = r
		}
		want = append(want, body)
	}
	send(2, large)
	want = append(want, large)
	b := openBrowser(t, broker.Addr, "t")
	send(0, "later")
	send(1, "later")
	if got := b.Progress(); got.TotalMessages != 11 || got.TotalBytes < int64(len(large)) || got.Messages != 0 {
		t.Errorf("%+v", got)
	}
	got := browse(t, b, 4)
	if p := b.Progress(); p.Messages != 4 || p.Bytes >= p.TotalBytes {
		t.Errorf("after 4 messages: %+v", p)
	}
	if got = append(got, browse(t, b, -1)...); !slices.Equal(got, want) {
		t.Errorf("read %d messages, want %d: %.200q", len(got), len(want), got)
	}
	if p := b.Progress(); p.Messages != p.TotalMessages || p.Bytes != p.TotalBytes {
		t.Errorf("at the end: %+v", p)
	}
	if got := browse(t, openBrowser(t, broker.Addr, "t", client.BrowseFrom(client.FromOffset(third.Offset))), 3); !slices.Equal(got, want[3:6]) {
		t.Errorf("from the third message: %q", got)
	}
	for name, from := range map[string]client.Start{"latest": client.FromLatest(), "the future": client.FromTime(time.Now().Add(time.Hour))} {
		b := openBrowser(t, broker.Addr, "t", client.BrowseFrom(from))
		if got := browse(t, b, -1); len(got) != 0 || b.Progress() != (client.BrowserProgress{}) {
			t.Errorf("from %s: %q, %+v", name, got, b.Progress())
		}
	}
	if got := browse(t, openBrowser(t, broker.Addr, "nothing"), -1); len(got) != 0 {
		t.Errorf("a topic that is not there: %q", got)
	}
}

func TestBrowser_OfACluster(t *testing.T) {
	c := startCluster(t)
	c.broker(t, 0, 2)
	c.broker(t, 1, 1)
	f := newFeed(t, c.addr)
	f.send(30)
	eventually(t, "both brokers are used", func() bool { f.send(1); return len(f.ends) == 3 })
	b := openBrowser(t, c.addr, "t")
	if got := int(b.Progress().TotalMessages); got != len(f.sent) {
		t.Errorf("%d messages, want %d", got, len(f.sent))
	}
	var before, last client.Received
	seen := map[string]bool{}
	for m, err := range b.Messages(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		seen[string(m.Body)] = true
		before, last = last, m
		if before.Broker > last.Broker || before.Broker == last.Broker && before.Partition > last.Partition {
			t.Errorf("%s comes after %s", partitionOf(last), partitionOf(before))
		}
	}
	if len(seen) != len(f.sent) {
		t.Errorf("read %d messages, want %d", len(seen), len(f.sent))
	}
}

// A broker that is restarted meanwhile is asked again.
func TestBrowser_ABrokerThatComesBack(t *testing.T) {
	broker := metaqtest.Start(t)
	p := producer(t, broker.Addr)
	for range 40 {
		if _, err := p.Send(testContext(t), "t", make([]byte, 100<<10)); err != nil {
			t.Fatal(err)
		}
	}
	b := openBrowser(t, broker.Addr, "t")
	n := len(browse(t, b, 3))
	broker.Restart()
	if n += len(browse(t, b, -1)); n != 40 {
		t.Errorf("read %d messages, want 40", n)
	}
}
