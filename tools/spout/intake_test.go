package spout

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/metaq/metaq/client"
)

// What Storm never answers for, of a partition that was given up meanwhile, makes room for other partitions when its time is over.
func TestIntake_RoomAfterATimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spout{less: make(chan struct{}, 1), inFlight: newInFlight(policy{retryFrom: time.Second, retryTo: time.Second, answerIn: time.Minute})}
		c := &claim{}
		large := &witness{Received: client.Received{Topic: "t", Body: make([]byte, maxBytes)}, claim: c}
		s.inFlight.add(c, large, large.Received)
		s.inFlight.emit(s.inFlight.next(), time.Now())
		s.inFlight.leave(c)

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		room := make(chan error, 1)
		go func() { room <- (&intake{s: s}).room(ctx) }()
		synctest.Wait()
		<-time.After(time.Minute)
		s.expire()
		if err := <-room; err != nil || large.returned != 1 {
			t.Errorf("room for more: %v; the message is returned %d times", err, large.returned)
		}
	})
}
