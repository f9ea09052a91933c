//go:build linux

package ship

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/client/metaqtest"
)

// metrics are the lines of the page that begin with a word.
func (r *rig) metrics(word string) (lines []string) {
	r.t.Helper()
	resp, err := http.Get("http://" + r.agent.HTTPAddr() + "/metrics")
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(page), "\n") {
		if strings.HasPrefix(line, word) {
			lines = append(lines, line)
		}
	}
	return lines
}

func TestMetrics(t *testing.T) {
	r := newRig(t, "*.log", func(in *Input) { in.MaxLine = 100 })
	r.config.HTTP = DefaultHTTP
	r.write("a.log", "1\n"+strings.Repeat("x", 150)+"\nhalf")
	r.write("b.log", "3\n")
	unlink(r, "b.log")
	r.begin()
	r.want("1", strings.Repeat("x", 100)+" [cut: the line is longer than 100 bytes]")
	r.file("b.log", func(f FileStatus) bool { return f.State == stateWaiting })
	for _, want := range []string{
		`messages_total{input="t",topic="t"} 2`,
		`bytes_total{input="t",topic="t"} 153`,
		`lag_bytes{input="t",topic="t"} 4`,
		`cut_lines_total{input="t",topic="t"} 1`,
		`cut_bytes_total{input="t",topic="t"} 50`,
		`lost_bytes_total{input="t",topic="t"} 0`,
		`files{input="t",state="followed",topic="t"} 1`,
		`files{input="t",state="waiting",topic="t"} 1`,
		`checkpoint_success 1`,
		`held_bytes 0`,
		`held_limit_bytes 6.7108864e+07`,
	} {
		if got := r.metrics("metaq_ship_" + want[:strings.IndexAny(want, "{ ")]); !strings.Contains(strings.Join(got, "\n")+"\n", "metaq_ship_"+want+"\n") {
			t.Errorf("%q, want %s", got, want)
		}
	}
}

// A checkpoint that cannot be written stops nothing, and is told of.
func TestCheckpoint_CannotBeWrittenForAWhile(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.HTTP = DefaultHTTP
	r.write("a.log", "1\n")
	r.begin()
	r.want("1")
	block := filepath.Join(r.config.Dir, checkpointDraft)
	r.eventually("something in the way", func() bool {
		err := os.MkdirAll(filepath.Join(block, "x"), 0o755)
		return err == nil
	})
	r.write("a.log", "2\n")
	r.want("1", "2")
	r.eventually("the problem", func() bool { return strings.Contains(r.agent.Status().Problem, checkpointDraft) })
	if got := r.metrics("metaq_ship_checkpoint_success"); len(got) != 1 || !strings.HasSuffix(got[0], " 0") {
		t.Errorf("%q", got)
	}
	if err := os.RemoveAll(block); err != nil {
		t.Fatal(err)
	}
	r.eventually("the end of the problem", func() bool { return r.agent.Status().Problem == "" })
	r.end()
	if s, err := ReadStatus(t.Context(), r.config.Dir); err != nil || s.Inputs[0].Files[0].Position != 4 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestShip_ATopicThatTheBrokerDoesNotTake(t *testing.T) {
	r := newRig(t, "a.log", nil, metaqtest.Set("autoCreateTopics", "false"))
	r.write("a.log", "1\n")
	r.begin()
	r.file("a.log", func(f FileStatus) bool {
		return f.State == stateWaiting && strings.Contains(f.Problem, "do not accept topic t") && f.Lag == 2
	})
	if _, err := os.Stat(filepath.Join(r.config.Dir, refusedName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a line was set aside that the broker may take later: %v", err)
	}
}

// With an address where no broker is, nothing else would tell.
func TestStatus_TheBrokerIsAway(t *testing.T) {
	r := newRig(t, "a.log", nil)
	r.config.Broker, r.config.Drain = "127.0.0.1:1", 0
	r.write("a.log", "1\n")
	r.begin()
	r.file("a.log", func(f FileStatus) bool {
		return f.State == stateWaiting && strings.HasPrefix(f.Problem, "no acknowledgement for ") && f.Lag == 2
	})
}
