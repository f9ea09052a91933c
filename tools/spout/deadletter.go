package spout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
)

// The pauses after the dead-letter topic did not take a message.
const (
	buryFrom = time.Second
	buryTo   = 30 * time.Second
)

// letter is the attribute of a message in the dead-letter topic. Its body is as it was, so that whoever reads the topic can read it, and it can be sent again.
type letter struct {
	Topic     string `json:"topic"`
	Partition string `json:"partition"`
	Offset    int64  `json:"offset"`
	ID        int64  `json:"id"`
	Attribute string `json:"attribute,omitempty"` // what it had
	Group     string `json:"group"`
	Error     string `json:"error"`
	Tries     int    `json:"tries"`
}

// deadTopic is where messages of a topic go that the topology cannot deal with.
func (o Options) deadTopic(topic string) string {
	if o.Dead != "" {
		return o.Dead
	}
	return topic + ".dead"
}

// buryLocked lets a message be sent to the dead-letter topic.
func (s *spout) buryLocked(f *flight) {
	if s.ctx.Err() != nil {
		return // it comes again
	}
	why, tries := f.why, f.failures
	s.burials.Go(func() { s.bury(s.ctx, f, why, tries) })
}

// bury goes on trying until the dead-letter topic has the message or ctx ends.
func (s *spout) bury(ctx context.Context, f *flight, why string, tries int) {
	m := f.message
	topic := s.deadTopic(m.Topic)
	attribute, _ := json.Marshal(letter{m.Topic, partition(m), m.Offset, m.ID, m.Attribute, s.Group, why, tries}) // strings and numbers
	send := client.Message{Topic: topic, Attribute: string(attribute), Body: m.Body}
	for pause := buryFrom; ; pause = min(2*pause, buryTo) {
		receipt, err := s.dead.SendMessage(ctx, send)
		var status *client.StatusError
		if errors.As(err, &status) && status.Status == protocol.StatusBadRequest && send.Attribute != m.Attribute {
			send.Attribute = m.Attribute // it was within the broker's limits like that
			continue
		}
		if err == nil {
			s.mu.Lock()
			s.inFlight.buried(f)
			s.mu.Unlock()
			wake(s.less)
			s.log.Warn("a message went to the dead-letter topic", "topic", m.Topic, "partition", partition(m), "offset", m.Offset, "tries", tries, "why", why,
				"dead", fmt.Sprintf("%s %d-%d %d", topic, receipt.Broker, receipt.Partition, receipt.Offset))
			return
		}
		if ctx.Err() != nil {
			return
		}
		s.log.Error("a message cannot be sent to the dead-letter topic; it holds its partition's offset until it can", "topic", m.Topic, "partition", partition(m),
			"offset", m.Offset, "why", why, "dead", topic, "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
