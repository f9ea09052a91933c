package server

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/server/config"
)

func TestReload(t *testing.T) {
	cfg := testConfig(t, nil)
	s := startWith(t, cfg, storeOptions(cfg, testLog(t)))
	c := dial(t, s.Addr())
	c.send("put t 0 1 0 1\r\nx")
	c.want(protocol.StatusOK)
	c.send("put t 1 1 0 2\r\nx")
	c.want(protocol.StatusError)
	next := *cfg
	next.NumPartitions, next.BrokerID = 2, 5
	report, err := s.Reload(func() (*config.Config, error) { return &next, nil })
	if err != nil || !strings.Contains(report, "changed: numPartitions") || !strings.Contains(report, "needs a restart: brokerId") {
		t.Fatalf("report %q, %v", report, err)
	}
	c.send("put t 1 1 0 3\r\nx")
	c.want(protocol.StatusOK)
	c.send("get t g 0 0 21 4\r\n")
	if r, _ := c.next(); !r.value {
		t.Fatalf("answer %+v, want the message from before", r)
	}
	if got := stat(t, s.Addr(), "", "broker_id"); got != "0" {
		t.Errorf("broker_id %s after a reload, want the old one", got)
	}
}

func TestReload_MonitoringSeesAMistake(t *testing.T) {
	cfg := testConfig(t, nil)
	s := startWith(t, cfg, storeOptions(cfg, testLog(t)))
	taken := regexp.MustCompile(`(?m)^metaq_config_reload_success_timestamp_seconds (\S+)$`)
	want := func(success string) (when string) {
		t.Helper()
		_, text := fetch(t, s, "/metrics")
		if !strings.Contains(text, "\nmetaq_config_reload_success "+success+"\n") {
			t.Errorf("metaq_config_reload_success is not %s", success)
		}
		found := taken.FindStringSubmatch(text)
		if found == nil {
			t.Fatal("no time of the last success")
		}
		return found[1]
	}
	start := want("1")
	mistake := errors.New("server.ini:7: a mistake")
	if _, err := s.Reload(func() (*config.Config, error) { return nil, mistake }); !errors.Is(err, mistake) {
		t.Fatalf("%v, want the mistake", err)
	}
	if got := want("0"); got != start {
		t.Errorf("the time of the last success is %s after a failure, want that of the start, %s", got, start)
	}
	if _, err := s.Reload(func() (*config.Config, error) { return cfg, nil }); err != nil {
		t.Fatal(err)
	}
	if got := want("1"); got == start {
		t.Errorf("the time of the last success is still %s", got)
	}
}
