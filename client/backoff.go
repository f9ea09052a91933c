package client

import (
	"time"

	"github.com/cenkalti/backoff/v5"
)

// newBackoff is how reconnects and retries are spaced: from 20 ms, doubling to 1 s, with jitter.
func newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval = 20 * time.Millisecond
	b.Multiplier = 2
	b.MaxInterval = time.Second
	b.Reset()
	return b
}
