package offsetfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/client/offsettest"
	"github.com/metaq/metaq/zkcoord"
)

func open(t testing.TB, path string) *offsetfile.Store {
	t.Helper()
	s, err := offsetfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func orders(number int32) client.OffsetKey {
	return client.OffsetKey{Group: "billing", Topic: "orders", Partition: zkcoord.Partition{Number: number}}
}

func TestStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offsets")
	offsettest.Run(t, offsettest.Store{
		Open: func(t *testing.T) client.OffsetStore { return open(t, path) },
		Break: func(t *testing.T) func() {
			if err := os.Mkdir(path+".new", 0o700); err != nil { // where the next file is to be written
				t.Fatal(err)
			}
			return func() {
				if err := os.Remove(path + ".new"); err != nil {
					t.Fatal(err)
				}
			}
		},
	})
}

// testdata/java.json was written by LocalOffsetStorage of metamorphosis-client 1.4.6.2.
func TestOpen_FileOfJava(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".meta_offsets")
	write(t, path, read(t, "testdata/java.json"))
	s := open(t, path)
	for key, want := range map[client.OffsetKey]zkcoord.Offset{
		orders(1): {MessageID: -5468921164271190016, Offset: 4711},
		{Group: "billing", Topic: "orders", Partition: zkcoord.Partition{Broker: 3}}: {MessageID: -1, Offset: 9223372036854775807},
		{Group: "readers", Topic: "greetings"}:                                       {MessageID: -1, Offset: 0},
	} {
		if got, ok, err := s.Load(context.Background(), key); err != nil || !ok || got != want {
			t.Errorf("%v: %+v, %v, %v; want %+v", key, got, ok, err, want)
		}
	}
}

func TestSave_WritesAsJavaDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".meta_offsets")
	write(t, path, "\n") // LocalOffsetStorage begins with an empty file
	s := open(t, path)
	err := s.Save(context.Background(), map[client.OffsetKey]zkcoord.Offset{
		{Group: "billing", Topic: "orders", Partition: zkcoord.Partition{Broker: 3}}: {MessageID: -1, Offset: 9223372036854775807},
		orders(1): {MessageID: -5468921164271190016, Offset: 4711},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"billing":[{"offset":4711,"messageId":-5468921164271190016,"topic":"orders","partition":{"partition":1,"brokerId":0},"modified":false},` +
		`{"offset":9223372036854775807,"messageId":-1,"topic":"orders","partition":{"partition":0,"brokerId":3},"modified":false}]}`
	if got := read(t, path); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
}

func TestOpen_Damaged(t *testing.T) {
	for name, text := range map[string]string{
		"cut":           `{"billing":[{"offset":4711,"messageId":-1,"topic":"orders"`,
		"zeros":         "\x00\x00\x00\x00",
		"null":          "null",
		"list":          "[]",
		"no offset":     `{"billing":[{"topic":"orders","partition":{"partition":1,"brokerId":0}}]}`,
		"negative":      `{"billing":[{"offset":-1,"topic":"orders","partition":{"partition":1,"brokerId":0}}]}`,
		"fraction":      `{"billing":[{"offset":1.5,"topic":"orders","partition":{"partition":1,"brokerId":0}}]}`,
		"no partition":  `{"billing":[{"offset":1,"topic":"orders"}]}`,
		"bad partition": `{"billing":[{"offset":1,"topic":"orders","partition":{"partition":-1,"brokerId":0}}]}`,
		"bad topic":     `{"billing":[{"offset":1,"topic":"or ders","partition":{"partition":1,"brokerId":0}}]}`,
		"no group":      `{"":[]}`,
		"two files":     `{"billing":[]}{"billing":[]}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "offsets")
			write(t, path, text)
			for range 2 { // the lock is free again
				if _, err := offsetfile.Open(path); err == nil || !strings.Contains(err.Error(), path+" are damaged") {
					t.Errorf("%v", err)
				}
			}
			if got := read(t, path); got != text {
				t.Errorf("the file is now %q", got)
			}
		})
	}
}

func TestOpen_OneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offsets")
	s := open(t, path)
	if _, err := offsetfile.Open(path); !errors.Is(err, offsetfile.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second one: %v", err)
	}
	if err := s.Save(context.Background(), map[client.OffsetKey]zkcoord.Offset{orders(0): {Offset: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := offsetfile.Open(path); !errors.Is(err, offsetfile.ErrLocked) {
		t.Errorf("after the file was replaced: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	if err := s.Save(context.Background(), map[client.OffsetKey]zkcoord.Offset{orders(0): {Offset: 2}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("save after Close: %v", err)
	}
	if _, _, err := s.Load(context.Background(), orders(0)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("load after Close: %v", err)
	}
}

func TestOpen_NoDirectory(t *testing.T) {
	if _, err := offsetfile.Open(filepath.Join(t.TempDir(), "missing", "offsets")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// A process that ends while it writes leaves a part of the next file.
func TestSave_AfterACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "offsets")
	s := open(t, path)
	kept := map[client.OffsetKey]zkcoord.Offset{orders(0): {MessageID: 1, Offset: 10}}
	if err := s.Save(context.Background(), kept); err != nil {
		t.Fatal(err)
	}
	s.Close()
	complete := read(t, path)
	write(t, path+".new", complete[:20]+strings.Repeat("x", 1000))
	s = open(t, path)
	if got, ok, err := s.Load(context.Background(), orders(0)); err != nil || !ok || got.Offset != 10 {
		t.Fatalf("%+v, %v, %v", got, ok, err)
	}
	if err := s.Save(context.Background(), kept); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != complete {
		t.Errorf("the file is\n%s\nwant\n%s", got, complete)
	}
}

func TestDefaultPath(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if path, err := offsetfile.DefaultPath(); err != nil || path != filepath.Join(home, ".meta_offsets") {
		t.Errorf("%s, %v", path, err)
	}
}
