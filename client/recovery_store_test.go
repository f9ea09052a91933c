package client

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func openFailed(t *testing.T, dir string, maxBytes int64) *failedStore {
	t.Helper()
	s, err := openFailedStore(dir, maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func failing(offset int64, body string) failedMessage {
	return failedMessage{Received: Received{Topic: "a.b", Broker: 2, Partition: int32(offset % 3), Offset: offset, Next: offset + 7, ID: offset * 11,
		Attribute: "red", Body: []byte(body)}, since: time.UnixMilli(1700000000000 + offset)}
}

// takeAll takes what is due, with its body.
func takeAll(t *testing.T, s *failedStore) (list []*failedMessage) {
	t.Helper()
	for {
		m, _, _ := s.next()
		if m == nil {
			return list
		}
		if err := s.load(m); err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
}

// What a consumer keeps and what a producer has put on its disk are not taken for each other.
func TestFailedStore_IsNoSpill(t *testing.T) {
	dir := t.TempDir()
	s := openFailed(t, dir, 1<<20)
	if err := errors.Join(s.add(failing(3, "secret")), s.close()); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+spillSuffix))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	n := 0
	for m, err := range ReadSpill(names[0]) {
		if n++; !errors.Is(err, errOfConsumer) || !strings.Contains(err.Error(), names[0]) {
			t.Errorf("ReadSpill: %q, %v", m.Body, err)
		}
	}
	if n != 1 {
		t.Errorf("ReadSpill yields %d times, want an error once", n)
	}
	order := Ordered{Dir: dir, Partitions: map[string]map[int]int32{"t": {0: 1}}}
	if _, err := NewProducer("127.0.0.1:1", WithOrdered(order)); !errors.Is(err, errOfConsumer) {
		t.Errorf("a producer with the directory of a consumer: %v", err)
	}
	order.Dir = filepath.Join(t.TempDir(), "g")
	p, err := NewProducer("127.0.0.1:1", WithOrdered(order))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := p.Send(t.Context(), "t", []byte("x")); err != nil || !r.Spilled {
		t.Fatal(r, err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := NewConsumer("127.0.0.1:1", "g", []string{"t"}, WithRecovery(Recovery{Dir: filepath.Dir(order.Dir)})); !errors.Is(err, errOfProducer) {
		t.Errorf("a consumer with the directory of a producer: %v", err)
	}
}

// Whatever is added, tried again and done, in whatever order, and however often the store is opened: what is left is what was not done.
func TestFailedStore_KeepsWhatIsNotDone(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	s := openFailed(t, dir, 1<<30)
	left := map[int64]int{} // tries by offset
	body := func(offset int64) string { return strings.Repeat(fmt.Sprint(offset, " "), 5000) }
	next := int64(0)
	for range 60 {
		for range random.IntN(8) {
			if err := s.add(failing(next, body(next))); err != nil {
				t.Fatal(err)
			}
			left[next] = 0
			next++
		}
		for _, m := range takeAll(t, s) {
			want := failing(m.Offset, body(m.Offset))
			if string(m.Body) != string(want.Body) || m.Attribute != "red" || m.ID != want.ID || m.Next != want.Next || !m.since.Equal(want.since) ||
				m.tries != left[m.Offset] {
				t.Fatalf("message %d: %+v", m.Offset, m.Received)
			}
			switch random.IntN(4) {
			case 0:
				delete(left, m.Offset)
				s.done(m)
			case 1:
				m.tries++
				left[m.Offset]++
				s.again(m, time.Duration(random.IntN(2))*time.Hour)
			default:
				s.later(m, time.Hour)
			}
		}
		if n, _ := s.size(); n != len(left) {
			t.Fatalf("%d messages are stored, want %d", n, len(left))
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
		s = openFailed(t, dir, 1<<30)
	}
	got := map[int64]int{}
	for _, m := range takeAll(t, s) {
		got[m.Offset] = m.tries
		s.done(m)
	}
	if !maps.Equal(got, left) {
		t.Errorf("%v, want %v", got, left)
	}
	if n, bytes := s.size(); n != 0 || bytes != 0 {
		t.Errorf("%d messages with %d bytes are left", n, bytes)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*"+spillSuffix)); len(files) > 0 {
		t.Errorf("%v are left", files)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// One message that fails for ever does not keep the disk of those that come and go behind it.
func TestFailedStore_OneThatStaysKeepsNothingElse(t *testing.T) {
	s := openFailed(t, t.TempDir(), 2000)
	defer s.close()
	if err := s.add(failing(0, strings.Repeat("x", 500))); err != nil {
		t.Fatal(err)
	}
	stays := takeAll(t, s)[0]
	for offset := int64(3); offset < 300; offset += 3 {
		if err := s.add(failing(offset, strings.Repeat("y", 500))); err != nil {
			t.Fatalf("offset %d: %v", offset, err)
		}
		s.done(takeAll(t, s)[0])
		s.again(stays, 0)
		stays = takeAll(t, s)[0]
	}
	if n, bytes := s.size(); n != 1 || bytes > 1000 {
		t.Errorf("%d messages use %d bytes", n, bytes)
	}
}

func TestFailedStore_IsBounded(t *testing.T) {
	s := openFailed(t, t.TempDir(), 1000)
	defer s.close()
	for offset := range int64(20) {
		if err := s.add(failing(offset, strings.Repeat("x", 100))); err != nil {
			if !errors.Is(err, ErrRecoveryFull) || offset < 5 {
				t.Fatalf("message %d: %v", offset, err)
			}
			break
		}
	}
	stored := takeAll(t, s)
	for range 50 {
		for _, m := range stored {
			m.tries++
			s.again(m, 0)
		}
		if _, bytes := s.size(); bytes > 1000 {
			t.Fatalf("%d bytes", bytes)
		}
		stored = takeAll(t, s)
	}
}

// Whatever a crash leaves of the last frame, the messages before it are there.
func TestFailedStore_ATornEndIsCut(t *testing.T) {
	dir := t.TempDir()
	s := openFailed(t, dir, 1<<30)
	for _, offset := range []int64{0, 3} {
		if err := s.add(failing(offset, "body")); err != nil {
			t.Fatal(err)
		}
	}
	first := s.queues[spillPlace{"a.b", Partition{Broker: 2}}].frames[1].at
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"+spillSuffix))
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	torn := slices.Clone(whole)
	binary.BigEndian.PutUint64(torn[spillFlushed:], uint64(first)) // as it was before the last flush
	for cut := first; cut < int64(len(whole)); cut++ {
		if err := os.WriteFile(files[0], whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := openFailedStore(dir, 1<<30); err == nil || !strings.Contains(err.Error(), "recovery "+files[0]+": damaged at byte") {
			t.Fatalf("what was flushed is cut at %d: %v", cut, err)
		}
		if err := os.WriteFile(files[0], torn[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		s := openFailed(t, dir, 1<<30)
		var offsets []int64
		for _, m := range takeAll(t, s) {
			offsets = append(offsets, m.Offset)
		}
		if !slices.Equal(offsets, []int64{0}) {
			t.Errorf("cut at %d: %v", cut, offsets)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRejectedFile_ATornLineIsCutAndTheFileIsBounded(t *testing.T) {
	dir := t.TempDir()
	r, err := openRejectedFile(dir, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for offset := range int64(2) {
		if err := r.add(Rejected{Received: failing(offset, "body\x00\xff").Received, Err: "no", Tries: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.add(Rejected{Received: failing(5, strings.Repeat("x", 1000)).Received}); err == nil || !strings.Contains(err.Error(), "the limit is 1000") {
		t.Errorf("more than the limit: %v", err)
	}
	whole, err := os.ReadFile(r.name)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole)/2 + 1; cut < len(whole); cut += 7 {
		if err := os.WriteFile(r.name, whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err = openRejectedFile(dir, 1000); err != nil {
			t.Fatal(err)
		}
		if err := r.add(Rejected{Received: failing(2, "later").Received}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for m, err := range readRejected(r.name) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%d %q", m.Offset, m.Body))
		}
		if fmt.Sprint(got) != `[0 "body\x00\xff" 2 "later"]` {
			t.Errorf("cut at %d: %s", cut, got)
		}
	}
}

// What comes back from the file is the message, whatever its bytes are: it may be redriven.
func TestRejectedFile_KeepsEveryByte(t *testing.T) {
	r, err := openRejectedFile(t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, text := range []string{"", "red", "\xff\x00", "\u00fcber\n\"", "\ufffd"} {
		m := failing(1, text).Received
		m.Attribute = text
		want = append(want, fmt.Sprintf("%q %q", text, text))
		if err := r.add(Rejected{Received: m}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for m, err := range readRejected(r.name) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%q %q", m.Attribute, m.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
