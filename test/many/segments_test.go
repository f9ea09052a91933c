package many

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
	"github.com/metaq/metaq/store/vfs"
	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const (
	manyTopics  = 1000
	segmentSize = 100 << 10
)

// makeSegments makes a log of segments with one large message and a small one each, sparse files of 100 KiB, and returns where messages of
// which text are.
func makeSegments(t *testing.T, dir string, segments int) map[string][]int64 {
	t.Helper()
	offsets := map[string][]int64{}
	large := make([]byte, segmentSize-1024)
	rules := store.Rules{FlushMessages: 1 << 30, SegmentSize: 1 << 30}
	for made := 0; made < segments; {
		s, err := store.Open(store.Options{FS: sparseFS{vfs.OS()}, Dir: dir, LogSegmentSize: segmentSize, Rules: func(protocol.Topic) store.Rules { return rules }})
		if err != nil {
			t.Fatal(err)
		}
		// Not too many at a time: what is not sealed yet has an open file.
		for range min(2000, segments-made) {
			topic := fmt.Sprintf("topic%d", made%manyTopics)
			q, err := s.CreateQueue(protocol.Topic(topic), 0)
			if err != nil {
				t.Fatal(err)
			}
			var b store.Batch
			b.Add(q, 0, []byte(topic))
			b.Add(q, 0, large)
			if _, err := s.Append(&b); err != nil {
				t.Fatal(err)
			}
			_, offset := b.Receipt(0)
			offsets[topic] = append(offsets[topic], offset)
			made++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return offsets
}

func TestStart_ManySegments(t *testing.T) {
	segments := chaos.Pick(4000, 100_000)
	rng := rand.New(rand.NewPCG(chaos.Seed(t), 0))
	dir := filepath.Join(t.TempDir(), "data")
	offsets := makeSegments(t, dir, segments)
	if files, err := filepath.Glob(filepath.Join(dir, "log", "*.log")); err != nil || len(files) < segments {
		t.Fatalf("%d segments were made, want %d: %v", len(files), segments, err)
	}

	b := process.Start(t, process.Options{Data: dir, Config: "[system]\n[topic=probe]\n"})
	first := b.Start
	began := time.Now()
	if err := dial(t, b.Addr, "probe", 1, 10).put(1); err != nil {
		t.Fatal(err)
	}
	first += time.Since(began)
	u := usageOf(t, b.PID())
	chaos.Figure(t, 10, fmt.Sprintf("segments %d, topics %d, start to the next accepted put", segments, manyTopics), "%d ms", first.Milliseconds())
	chaos.Figure(t, 10, fmt.Sprintf("segments %d, memory after the start", segments), "%d MB anonymous, %d MB resident; %d open files, %d mappings",
		u.anonymous>>20, u.resident>>20, u.files, u.mappings)
	if first > chaos.Pick(5*time.Second, 10*time.Second) || u.anonymous > 128<<20 || u.files > 64 || u.mappings > 1000 {
		t.Errorf("a start over %d segments takes %s and %+v", segments, first, u)
	}

	// More of them than may be mapped.
	reads := chaos.Pick(500, 300)
	conn, err := client.Dial(t.Context(), b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range reads {
		topic := fmt.Sprintf("topic%d", rng.IntN(min(manyTopics, segments)))
		at := offsets[topic][rng.IntN(len(offsets[topic]))]
		body, err := conn.Get(t.Context(), protocol.Topic(topic), "g", 0, at, int32(protocol.RecordHeader+len(topic)), 0)
		if err != nil || !strings.HasSuffix(string(body), topic) {
			t.Fatalf("%s at %d: %q, %v", topic, at, body, err)
		}
	}
	u = usageOf(t, b.PID())
	chaos.Figure(t, 10, fmt.Sprintf("segments %d, after %d reads anywhere", segments, reads), "%d MB anonymous; %d open files, %d mappings", u.anonymous>>20, u.files, u.mappings)
	if u.anonymous > 160<<20 || u.files > 64 || u.mappings > 2*4096+1000 {
		t.Errorf("%d reads over %d segments leave %+v", reads, segments, u)
	}
}
