package zkcoord

import (
	"errors"
	"slices"
	"testing"

	"github.com/metaq/metaq/test/zookeeper"
)

func TestOffsets_KeepsWhatWasSeen(t *testing.T) {
	z := zookeeper.Start(t)
	ctx, look := within(t), connect(t, z)
	p := TopicPartition{"t", Partition{0, 3}}
	path := DefaultRoot.Offset("g", "t", p.Partition)
	first, second := NewOffsets(connect(t, z), DefaultRoot, "g"), NewOffsets(connect(t, z), DefaultRoot, "g")
	load := func(o *Offsets, want Offset, exists bool) {
		t.Helper()
		if got, ok, err := o.Load(ctx, p); err != nil || ok != exists || got != want {
			t.Fatalf("%v %v %v, want %v %v", got, ok, err, want, exists)
		}
	}
	load(first, Offset{}, false)
	load(second, Offset{}, false)
	must(t, first.Save(ctx, map[TopicPartition]Offset{p: {-5468921164271190016, 44}}))
	if data, stat, err := look.Get(ctx, path); err != nil || string(data) != "-5468921164271190016-44" || stat.Owner != 0 {
		t.Errorf("%q %+v %v", data, stat, err)
	}
	moved := func(err error) {
		t.Helper()
		var e *MovedError
		if !errors.As(err, &e) || !slices.Equal(e.Partitions, []TopicPartition{p}) {
			t.Errorf("what somebody else has changed: %v", err)
		}
	}
	moved(second.Save(ctx, map[TopicPartition]Offset{p: {1, 10}}))
	load(second, Offset{-5468921164271190016, 44}, true)
	must(t, second.Save(ctx, map[TopicPartition]Offset{p: {1, 100}}))
	must(t, second.Save(ctx, map[TopicPartition]Offset{p: {1, 200}}))
	moved(first.Save(ctx, map[TopicPartition]Offset{p: {1, 88}}))
	load(first, Offset{1, 200}, true)
	must(t, look.Delete(ctx, path, AnyVersion))
	moved(first.Save(ctx, map[TopicPartition]Offset{p: {1, 300}}))
	load(first, Offset{}, false)
	must(t, first.Save(ctx, map[TopicPartition]Offset{p: {1, 300}}))
	if _, err := look.Set(ctx, path, []byte("12"), AnyVersion); err != nil {
		t.Fatal(err)
	}
	load(first, Offset{UnknownMessage, 12}, true)
	if _, err := look.Set(ctx, path, []byte("rubbish"), AnyVersion); err != nil {
		t.Fatal(err)
	}
	if _, _, err := first.Load(ctx, p); err == nil {
		t.Error("rubbish is an offset")
	}
}

// Many are kept with few requests; one that somebody else has changed does not hold up the others.
func TestOffsets_Many(t *testing.T) {
	z := zookeeper.Start(t)
	ctx, look := within(t), connect(t, z)
	o := NewOffsets(connect(t, z), DefaultRoot, "g")
	all := map[TopicPartition]Offset{}
	for n := range int32(250) {
		p := TopicPartition{"t", Partition{int(n % 2), n}}
		if _, ok, err := o.Load(ctx, p); ok || err != nil {
			t.Fatal(ok, err)
		}
		all[p] = Offset{int64(n), 1000 + int64(n)}
	}
	must(t, o.Save(ctx, all))
	for p, at := range all {
		all[p] = Offset{at.MessageID, at.Offset + 1}
	}
	before := z.Count(t, zookeeper.Requests)
	must(t, o.Save(ctx, all))
	if took := z.Count(t, zookeeper.Requests) - before; took > 10 { // sessions say that they are there, too
		t.Errorf("%d offsets took %d requests", len(all), took)
	}
	odd := TopicPartition{"t", Partition{1, 77}}
	if _, err := look.Set(ctx, DefaultRoot.Offset("g", "t", odd.Partition), []byte("-1-5"), AnyVersion); err != nil {
		t.Fatal(err)
	}
	for p, at := range all {
		all[p] = Offset{at.MessageID, at.Offset + 1}
	}
	var moved *MovedError
	if err := o.Save(ctx, all); !errors.As(err, &moved) || !slices.Equal(moved.Partitions, []TopicPartition{odd}) {
		t.Errorf("one of many was changed: %v", err)
	}
	fresh := NewOffsets(look, DefaultRoot, "g")
	for p, want := range all {
		if p == odd {
			want = Offset{UnknownMessage, 5}
		}
		if got, ok, err := fresh.Load(ctx, p); err != nil || !ok || got != want {
			t.Fatalf("%s: %v %v %v, want %v", p, got, ok, err, want)
		}
	}
}

// A change whose answer was lost is found out about, whether it has happened or not.
func TestOffsets_AnswerLost(t *testing.T) {
	z := zookeeper.Start(t)
	ctx, look := within(t), connect(t, z)
	o := NewOffsets(connect(t, z), DefaultRoot, "g")
	p := TopicPartition{"t", Partition{0, 0}}
	path := DefaultRoot.Offset("g", "t", p.Partition)
	if _, ok, err := o.Load(ctx, p); ok || err != nil {
		t.Fatal(ok, err)
	}
	for n, happened := range []bool{true, true, false, true, false} { // the first makes the node
		next := Offset{1, int64(100 * (n + 1))}
		o.note(p, seenOffset{o.at(p).exists, o.at(p).version, next.Encode()})
		if happened && n == 0 {
			must(t, look.Create(ctx, path, next.Encode(), Persistent))
		} else if happened {
			if _, err := look.Set(ctx, path, next.Encode(), AnyVersion); err != nil {
				t.Fatal(err)
			}
		}
		next.Offset++
		must(t, o.Save(ctx, map[TopicPartition]Offset{p: next}))
		if data, _, err := look.Get(ctx, path); err != nil || string(data) != string(next.Encode()) {
			t.Errorf("change %d: %q %v", n, data, err)
		}
	}
}
