package partition

import (
	"net"
	"os"
	"testing"
	"time"

	"github.com/metaq/metaq/test/process"
)

// The test's binary is also the program of the processes that it starts in other name spaces.
const (
	probeArgument    = "probe"
	consumerArgument = "consumer"
)

const probeBound = 500 * time.Millisecond

func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		switch os.Args[1] {
		case probeArgument:
			os.Exit(probe(os.Args[2]))
		case consumerArgument:
			os.Exit(consume(os.Args[2], os.Args[3]))
		}
	}
	os.Exit(process.Main(m))
}

// probe exits with 0 if somebody takes a connection.
func probe(addr string) int {
	c, err := net.DialTimeout("tcp", addr, probeBound)
	if err != nil {
		return 1
	}
	c.Close()
	return 0
}
