package process

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// Lines as strace 6.1 writes them: a call in one piece, one that another thread interrupts, a signal, the end of a thread.
const sampleTrace = `9765  1795253399.648101 fsync(4</tmp/y>) = 0
9766  1795253399.670082 fdatasync(1</tmp/y>) = -1 EIO (Input/output error) (INJECTED)
9767  1795253399.700000 pwrite64(7</tmp/z>, ""..., 10, 20 <unfinished ...>
9765  1795253399.700100 --- SIGURG {si_signo=SIGURG, si_code=SI_TKILL, si_pid=9765, si_uid=0} ---
9765  1795253399.700200 fsync(4</tmp/y>) = 0
9767  1795253399.700300 <... pwrite64 resumed>) = -1 ENOSPC (No space left on device) (INJECTED)
9767  1795253399.700400 +++ exited with 0 +++
9765  17952`

func TestParseCalls(t *testing.T) {
	calls, err := parseCalls(bufio.NewScanner(strings.NewReader(sampleTrace)))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name     string
		injected bool
	}{{"fsync", false}, {"fdatasync", true}, {"pwrite64", true}, {"fsync", false}}
	if len(calls) != len(want) {
		t.Fatalf("%d calls, want %d: %+v", len(calls), len(want), calls)
	}
	for i, w := range want {
		if calls[i].Name != w.name || calls[i].Injected != w.injected {
			t.Errorf("call %d is %+v, want %+v", i, calls[i], w)
		}
	}
	if at := time.Unix(1795253399, 670082000); !calls[1].At.Equal(at) {
		t.Errorf("the second call began at %s, want %s", calls[1].At, at)
	}
}
