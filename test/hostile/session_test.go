package hostile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/conformance"
	"github.com/metaq/metaq/test/process"
)

// placeholder stands for the name of a run in a session; no mutation touches it, and each play puts a new name of the same length there.
const placeholder = "qzqzqzqz"

// asksForTheEnd says that answers depend on how far the log is flushed, which the first put to a partition has to wait for in any case: they
// differ with the time that passes between two commands.
func asksForTheEnd(session []byte) bool {
	return bytes.Contains(session, []byte("offset ")) || bytes.Contains(session, []byte("9223372036854775807"))
}

// A player plays sessions against a broker and makes answers of two plays comparable.
type player struct {
	addr  string
	plays atomic.Int64
}

// play sends a session in the given pieces and returns its answers, sorted: those that wait for the disk may be overtaken. A session that has
// not ended the connection is ended by `quit`.
func (p *player) play(session []byte, cuts []int) ([]string, error) {
	run := fmt.Sprintf("r%07d", p.plays.Add(1))
	session = bytes.ReplaceAll(session, []byte(placeholder), []byte(run))
	c, err := connect(p.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	go func() {
		from := 0
		for _, cut := range append(slices.Clone(cuts), len(session)) {
			_ = c.SetWriteDeadline(time.Now().Add(patience))
			if _, err := c.Write(session[from:cut]); err != nil {
				return // the broker has ended a session that went wrong; its answers are read
			}
			if from = cut; from < len(session) {
				pause(200 * time.Microsecond)
			}
		}
		_ = c.send("\r\nquit\r\n")
		// A session that ends in half a command would wait for the rest until the timer; the end of the stream says that none comes.
		_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	var answers []string
	for {
		a, err := c.read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return answers, fmt.Errorf("no answer and no end after %s", patience)
		}
		if err != nil {
			slices.Sort(answers)
			return answers, nil
		}
		answers = append(answers, strings.ReplaceAll(comparable(a, run), run, placeholder))
	}
}

// comparable leaves out of an answer what differs between two plays: message ids, the checksums of messages with the name of the run in them, and what
// statistics tell.
func comparable(a answer, run string) string {
	body := a.body
	if a.value {
		body = bytes.Clone(body)
		for b := body; len(b) > 0; {
			if len(b) < 20 || len(b) < 20+int(binary.BigEndian.Uint32(b)) {
				if len(b) == len(body) {
					return fmt.Sprintf("value %d: %d bytes", a.opaque, len(body)) // not known to begin with a message
				}
				clear(b[min(8, len(b)):min(16, len(b))])
				break
			}
			data := b[20 : 20+binary.BigEndian.Uint32(b)]
			if crc32.ChecksumIEEE(data)&0x7fffffff != binary.BigEndian.Uint32(b[4:]) {
				return fmt.Sprintf("value %d: %d bytes", a.opaque, len(body))
			}
			if bytes.Contains(data, []byte(run)) {
				clear(b[4:8])
			}
			clear(b[8:16])
			b = b[20+len(data):]
		}
		return fmt.Sprintf("value %d: %q", a.opaque, body)
	}
	if words := strings.Fields(string(body)); a.code == 200 && len(words) == 3 {
		if _, err := strconv.ParseInt(words[0], 10, 64); err == nil {
			return fmt.Sprintf("200 %d: id %s %s", a.opaque, words[1], words[2])
		}
	}
	if bytes.HasPrefix(body, []byte("STATS\r\n")) {
		return fmt.Sprintf("%d %d: statistics", a.code, a.opaque)
	}
	if a.code != 200 && a.code != 301 {
		return fmt.Sprintf("%d %d: %d bytes", a.code, a.opaque, len(body)) // which may hold a part of the run's name
	}
	return fmt.Sprintf("%d %d: %q", a.code, a.opaque, body)
}

// agree says whether two answers are the same. Of messages that the session itself has just put a get may see more or fewer: the first one of a
// partition waits for the disk.
func agree(a, b string) bool {
	a, b = strings.TrimSuffix(a, `"`), strings.TrimSuffix(b, `"`)
	return a == b || strings.HasPrefix(a, "value ") && strings.Contains(a, `"`) && strings.Contains(b, `"`) && (strings.HasPrefix(a, b) || strings.HasPrefix(b, a))
}

// same plays a session whole and in pieces. A difference counts when it shows three times in a row: what the disk is asked for may take
// longer once.
func (p *player) same(session []byte, cuts []int) error {
	var whole, pieces []string
	waits := waitingGets(session)
	for range 3 {
		var err error
		if whole, err = p.play(session, nil); err != nil {
			return err
		}
		if pieces, err = p.play(session, cuts); err != nil {
			return err
		}
		if slices.EqualFunc(without(whole, waits), without(pieces, waits), agree) {
			return nil
		}
	}
	return fmt.Errorf("session %q cut at %v:\n  whole  %q\n  pieces %q", session, cuts, whole, pieces)
}

// get with WAITMS.
var waitingGet = regexp.MustCompile(`get \S+ \S+ \S+ \S+ \S+ \S+ (\S+)\r?\n`)

// waitingGets are the opaques of gets that wait for so many milliseconds: what they find depends on how fast the disk is.
func waitingGets(session []byte) (opaques []string) {
	for _, m := range waitingGet.FindAllSubmatch(session, -1) {
		opaques = append(opaques, string(m[1]))
	}
	return opaques
}

// without leaves out the answers to some opaques.
func without(answers, opaques []string) []string {
	return slices.DeleteFunc(slices.Clone(answers), func(a string) bool {
		fields := strings.FieldsFunc(a, func(r rune) bool { return r == ' ' || r == ':' })
		return len(fields) > 1 && slices.Contains(opaques, fields[1])
	})
}

// mutate changes a session in a few places, but not the placeholder.
func mutate(rng *rand.Rand, session []byte, other []byte) []byte {
	parts := bytes.Split(session, []byte(placeholder))
	for range 1 + rng.IntN(4) {
		part := &parts[rng.IntN(len(parts))]
		b := bytes.Clone(*part)
		if len(b) == 0 {
			continue
		}
		at := rng.IntN(len(b))
		switch rng.IntN(6) {
		case 0:
			b[at] ^= 1 << rng.IntN(8)
		case 1:
			b = slices.Delete(b, at, at+1+rng.IntN(len(b)-at))
		case 2:
			b = slices.Insert(b, at, "\r\n 0-9\x00\xff,:"[rng.IntN(10)])
		case 3:
			b = slices.Insert(b, at, b[at:at+rng.IntN(len(b)-at)]...)
		case 4:
			b = slices.Insert(b, at, []byte([]string{"2147483647", "-1", "9223372036854775808", " ", "\r\n", "quit\r\n", "put "}[rng.IntN(7)])...)
		case 5:
			if from := rng.IntN(len(other)); !bytes.Contains(other, []byte(placeholder)) {
				b = append(b[:at], other[from:]...)
			}
		}
		*part = b
	}
	return bytes.Join(parts, []byte(placeholder))
}

// Test 24: the recorded sessions give the same answers however they are cut, at each byte, byte by byte and at random; so do mutated
// ones; and what goes on beside them on other connections is not touched.
func TestSessions(t *testing.T) {
	seed := chaos.Seed(t)
	vectors, err := conformance.Load(filepath.Join("..", "conformance", "testdata", "vectors.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden [][]byte
	for _, v := range vectors {
		if session, ok := v.Session(placeholder); ok && len(session) < 4<<10 && !asksForTheEnd(session) {
			golden = append(golden, session)
		}
	}
	if len(golden) < 40 {
		t.Fatalf("only %d of %d vectors are sessions", len(golden), len(vectors))
	}
	// With group commit a get may see more or less of what its own connection has just put; so the sessions do without. The witnesses have it.
	b := process.Start(t, process.Options{Config: "[system]\nbrokerId=7\nunflushThreshold=1000\nautoCreateTopics=false\n[topic=cv-*]\n[topic=witness]\nunflushThreshold=0\n"})
	fill(t, b.Addr, "witness", 1, 100)
	p := &player{addr: b.Addr}

	// Witnesses work beside the sessions all the time.
	over := make(chan struct{})
	var beside sync.WaitGroup
	var witnesses []*pipeliner
	for i := range 3 {
		w := &pipeliner{topic: "witness", name: i, acked: map[string]bool{}, window: 4}
		witnesses = append(witnesses, w)
		c := dial(t, b.Addr)
		beside.Go(func() { w.work(c, over) })
	}

	type task struct {
		session []byte
		cuts    []int
	}
	tasks := make(chan task)
	var workers sync.WaitGroup
	var failed, done atomic.Int64
	for range 8 {
		workers.Go(func() {
			for k := range tasks {
				done.Add(1)
				if err := p.same(k.session, k.cuts); err != nil && failed.Add(1) <= 3 {
					t.Errorf("seed %d: %v", seed, err)
				}
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	stop := time.Now().Add(chaos.Pick(5*time.Second, 90*time.Second))
	step := chaos.Pick(9, 1) // the short form takes every ninth place, another one each time
	for i, session := range golden {
		for cut := 1 + (i+int(seed%9))%step; cut < len(session); cut += step {
			tasks <- task{session, []int{cut}}
		}
		if len(session) < 300 {
			every := make([]int, len(session)-1)
			for j := range every {
				every[j] = j + 1
			}
			tasks <- task{session, every}
		}
	}
	splits, mutants := done.Load(), 0
	for ; time.Now().Before(stop) || mutants < 200; mutants++ {
		session := mutate(rng, golden[rng.IntN(len(golden))], golden[rng.IntN(len(golden))])
		if len(session) < 2 || bytes.Count(session, []byte("cv-")) != bytes.Count(session, []byte("cv-"+placeholder)) {
			continue // the plays would share a topic
		}
		cuts := make([]int, 1+rng.IntN(4))
		for i := range cuts {
			cuts[i] = 1 + rng.IntN(len(session)-1)
		}
		slices.Sort(cuts)
		tasks <- task{session, slices.Compact(cuts)}
	}
	close(tasks)
	workers.Wait()
	close(over)
	beside.Wait()

	for _, w := range witnesses {
		if len(w.wrong) > 0 || w.reset > 0 || len(w.acked) != w.next || w.next < 100 {
			t.Errorf("a witness was disturbed: %d of %d puts acknowledged, %d resets, %v", len(w.acked), w.next, w.reset, w.wrong)
		}
	}
	there := map[string]int{}
	for _, body := range stored(t, b.Addr, "witness") {
		there[body]++
	}
	for _, w := range witnesses {
		for body := range w.acked {
			if there[body] != 1 {
				t.Errorf("%s of a witness is there %d times", body, there[body])
			}
			delete(there, body)
		}
	}
	if len(there) != 1 { // the one of fill
		t.Errorf("%d messages of nobody are in the witnesses' partition", len(there)-1)
	}
	panics, bad := b.Metric(t, "metaq_panics_total"), b.Metric(t, "metaq_bad_requests_total")
	if panics != 0 || bad == 0 {
		t.Errorf("%.0f panics, %.0f bad requests", panics, bad)
	}
	chaos.Figure(t, 24, "sessions", "%d recorded ones; %d splits of them, %d mutants; %d plays, %d differences", len(golden), splits, mutants, p.plays.Load(), failed.Load())
	chaos.Figure(t, 24, "lines that were no command / panics", "%.0f / %.0f", bad, panics)
	b.Stop(t)
}
