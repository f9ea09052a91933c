package process

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Await waits until the process has ended, and fails the test when it does not exit with 0.
func (b *Broker) Await(t testing.TB) {
	t.Helper()
	if err := b.await(t); err != nil {
		t.Fatalf("the broker did not stop in order: %v", err)
	}
}

// Log is what the broker has written to its log so far, over all of its restarts.
func (b *Broker) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(b.log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Memory is what the process holds: all of it, and the part that belongs to no file. Both are bytes.
func (b *Broker) Memory(t testing.TB) (resident, anonymous int64) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.PID()))
	if err != nil {
		t.Fatalf("memory of the broker: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		kb, _ := strconv.ParseInt(words[1], 10, 64)
		switch words[0] {
		case "VmRSS:":
			resident = kb << 10
		case "RssAnon:":
			anonymous = kb << 10
		}
	}
	return resident, anonymous
}

// Health is what the broker's health page says: whether it is ready, and if not, why.
func (b *Broker) Health(t testing.TB) (ready bool, why string) {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Get("http://" + b.HTTPAddr + "/readyz")
	if err != nil {
		t.Fatalf("health of the broker: %v", err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("health of the broker: %v", err)
	}
	return r.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

// Metric is the value of a metric as /metrics names it, labels included.
func (b *Broker) Metric(t testing.TB, name string) float64 {
	t.Helper()
	client := http.Client{Timeout: 30 * time.Second}
	r, err := client.Get("http://" + b.HTTPAddr + "/metrics")
	if err != nil {
		t.Fatalf("metrics of the broker: %v", err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("metrics of the broker: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("metric %s: %v", line, err)
			}
			return v
		}
	}
	t.Fatalf("/metrics has no %s", name)
	return 0
}
