package client

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// slowAfter is how long an answer may take until the broker counts as slow.
	slowAfter = time.Second
	// avoidFor is how long a broker is avoided until one message tries it again.
	avoidFor = 2 * time.Second
	// failuresInRow of a broker make that it is avoided, and so does more than half of failuresLookedAt within failureWindow.
	failuresInRow    = 5
	failuresLookedAt = 20
	failureWindow    = 10 * time.Second
)

var errSlow = errors.New("metaq: the broker answers slowly")

// breaker says whether a broker is to be avoided by messages that may go elsewhere: it is open after failures, time-outs and slow answers, and then lets
// one message through at a time until one succeeds. It belongs to whoever holds the producer's lock.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	probing bool // half open, and the message that tries the broker is chosen
	stuck   bool // trip is at work
}

func newBreaker() *breaker {
	b := &breaker{}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Interval: failureWindow, Timeout: avoidFor,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return b.stuck || c.ConsecutiveFailures >= failuresInRow || c.Requests >= failuresLookedAt && 2*c.TotalFailures > c.Requests
		},
		OnStateChange: func(string, gobreaker.State, gobreaker.State) { b.probing = false },
	})
	return b
}

// admits says whether a message that may go elsewhere may go here.
func (b *breaker) admits() bool {
	switch b.circuit.State() {
	case gobreaker.StateOpen:
		return false
	case gobreaker.StateHalfOpen:
		return !b.probing
	}
	return true
}

// chosen notes that a message that may go elsewhere goes here.
func (b *breaker) chosen() { b.probing = b.circuit.State() == gobreaker.StateHalfOpen }

// begin begins a try; the result, if not nil, takes its end.
func (b *breaker) begin() func(error) {
	done, err := b.circuit.Allow()
	if err != nil {
		return nil // it is sent all the same, and says nothing
	}
	return done
}

// trip opens it: the broker says nothing. wasTried is true if it was on trial.
func (b *breaker) trip() (wasTried bool) {
	wasTried = b.circuit.State() == gobreaker.StateHalfOpen
	b.stuck = true
	if done := b.begin(); done != nil {
		done(errSlow)
	}
	b.stuck = false
	return wasTried
}

// verdict is what counts of a try: errors that a retry may mend, which are those of the transport, time-outs and 503, and slow answers.
func verdict(err error, took time.Duration) error {
	switch {
	case Retriable(err):
		return err
	case took > slowAfter:
		return errSlow
	}
	return nil
}

// open says that nothing shall go here.
func (b *breaker) open() bool { return b.circuit.State() == gobreaker.StateOpen }
