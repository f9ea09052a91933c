//go:build linux

package client_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/metaqtest"
	"github.com/metaq/metaq/protocol"
)

// A group that has to go on where nothing is says so.
func TestConsumer_SaysThatMessagesAreNotThere(t *testing.T) {
	b := metaqtest.Start(t)
	sendAll(t, b.Addr, "t", "one", "two")
	conn, err := client.Dial(testContext(t), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, c := range map[string]struct {
		offset int64
		want   []string
	}{
		"beyond the end":   {1000, []string{"level=ERROR", "beyond the end", "offset=1000", "end=46", "metaq offsets reset"}},
		"inside a message": {5, []string{"level=WARN", "offset=5", "next=0"}},
	} {
		t.Run(name, func(t *testing.T) {
			group := strings.ReplaceAll(name, " ", "-")
			if err := conn.Commit(testContext(t), "t", protocol.Group(group), 0, c.offset); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			run(t, consumer(t, b.Addr, group, "t", client.WithConsumerLog(slog.New(slog.NewTextHandler(&log, nil)))), nil)
			eventually(t, "it is said", func() bool {
				for _, word := range append(c.want, "group="+group) {
					if !strings.Contains(log.String(), word) {
						return false
					}
				}
				return true
			})
		})
	}
}
