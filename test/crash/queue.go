package crash

import "github.com/metaq/metaq/test/wire"

// queue is a partition, and the level of its acknowledgements.
type queue struct {
	wire.Queue
	level string
}
