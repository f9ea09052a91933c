package spout

import "fmt"

// Counts are what a spout has done since it began. They go to the log of the worker every half minute, and to a metric of the topology if one is named.
type Counts struct {
	Received   int `json:"received"`   // taken from the brokers
	Emitted    int `json:"emitted"`    // tuples, replays included
	Replayed   int `json:"replayed"`   // tuples of messages that had failed before
	Acked      int `json:"acked"`      // messages that the topology has dealt with
	Failed     int `json:"failed"`     // tuples that the topology has failed, or that have timed out there
	TimedOut   int `json:"timedOut"`   // tuples for which Storm gave no answer at all
	Unreadable int `json:"unreadable"` // messages that the scheme does not read
	Dead       int `json:"dead"`       // messages that went to the dead-letter topic
	Dropped    int `json:"dropped"`    // messages that went to the next owner of their partition
	Late       int `json:"late"`       // answers for tuples that were not waited for any more
	InFlight   int `json:"inFlight"`   // messages in hand now
}

func (c Counts) String() string {
	return fmt.Sprintf("%d received, %d emitted, %d of them replays, %d acked, %d failed, %d timed out, %d unreadable, %d dead letters, %d dropped, %d late answers, %d in flight",
		c.Received, c.Emitted, c.Replayed, c.Acked, c.Failed, c.TimedOut, c.Unreadable, c.Dead, c.Dropped, c.Late, c.InFlight)
}
