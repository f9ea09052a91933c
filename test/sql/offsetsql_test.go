// Package sql_test tests client/offsetsql on real databases.
package sql_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetsql"
	"github.com/metaq/metaq/client/offsettest"
	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// store is one with a pool of connections of its own, as each process has it.
type store struct {
	*offsetsql.Store
	db *sql.DB
}

func (s store) Close() error { return s.db.Close() }

func open(t testing.TB, d database, opts ...offsetsql.Option) store {
	t.Helper()
	db, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := offsetsql.New(db, d.dialect, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return store{s, db}
}

func create(t testing.TB, s store) store {
	t.Helper()
	if err := s.CreateTable(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Each server is started once.
func TestStore(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			d := on.start(t)
			t.Run("NoTable", func(t *testing.T) { noTable(t, d) })
			t.Run("CreateTable", func(t *testing.T) { createTable(t, d) })
			offsettest.Run(t, offsettest.Store{Open: func(t *testing.T) client.OffsetStore { return open(t, d) }, Break: d.away})
			t.Run("WritersAtOnce", func(t *testing.T) { writersAtOnce(t, d) })
			t.Run("MembersInJava", func(t *testing.T) { membersInJava(t, d) })
			t.Run("TwoRows", func(t *testing.T) { twoRows(t, d) })
			t.Run("CaseMatters", func(t *testing.T) { caseMatters(t, d) })
			t.Run("NegativeOffset", func(t *testing.T) { negativeOffset(t, d) })
		})
	}
}

func noTable(t *testing.T, d database) {
	s := open(t, d, offsetsql.WithTable("missing"))
	if _, _, err := s.Load(testContext(t), key("g")); err == nil || !strings.Contains(err.Error(), "load the offset of orders 0-2") || !strings.Contains(err.Error(), "missing") {
		t.Errorf("load: %v", err)
	}
	err := s.Save(testContext(t), map[client.OffsetKey]zkcoord.Offset{key("g"): {Offset: 1}})
	if err == nil || !strings.Contains(err.Error(), "save offsets") || !strings.Contains(err.Error(), "missing") {
		t.Errorf("save: %v", err)
	}
}

func createTable(t *testing.T, d database) {
	var wg sync.WaitGroup
	for range 4 { // consumers that start together
		s := open(t, d)
		wg.Go(func() {
			if err := s.CreateTable(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Processes that save the same keys, none of which has a row yet, in different parts.
func writersAtOnce(t *testing.T, d database) {
	const writers, rounds, keys = 4, 5, 40
	if err := create(t, open(t, d, offsetsql.WithTable("at_once"))).db.Close(); err != nil {
		t.Fatal(err)
	}
	keyOf := func(round, i int) client.OffsetKey {
		return client.OffsetKey{Group: "g", Topic: "orders", Partition: zkcoord.Partition{Broker: round, Number: int32(i)}}
	}
	var wg sync.WaitGroup
	for w := range writers {
		s := open(t, d, offsetsql.WithTable("at_once"))
		wg.Go(func() {
			for round := range rounds {
				for half := range 2 {
					offsets := map[client.OffsetKey]zkcoord.Offset{}
					for i := range keys / 2 {
						offsets[keyOf(round, (i+keys/2*(half+w))%keys)] = zkcoord.Offset{MessageID: int64(w), Offset: int64(w)}
					}
					if err := s.Save(testContext(t), offsets); err != nil {
						t.Errorf("writer %d: %v", w, err)
					}
				}
			}
		})
	}
	wg.Wait()
	s := open(t, d, offsetsql.WithTable("at_once"))
	for round := range rounds {
		for i := range keys {
			if got, ok, err := s.Load(testContext(t), keyOf(round, i)); err != nil || !ok || got.Offset != got.MessageID || got.Offset >= writers {
				t.Fatalf("%v: %+v, %v, %v", keyOf(round, i), got, ok, err)
			}
		}
	}
}

func key(group protocol.Group) client.OffsetKey {
	return client.OffsetKey{Group: group, Topic: "orders", Partition: zkcoord.Partition{Broker: 0, Number: 2}}
}

// execute runs a statement that has the names it needs in double quotes.
func execute(t testing.TB, d database, s store, text string) {
	t.Helper()
	if d.dialect == offsetsql.MySQL {
		text = strings.ReplaceAll(text, `"`, "`")
	}
	if _, err := s.db.ExecContext(testContext(t), text); err != nil {
		t.Fatal(err)
	}
}

// rows lists the offsets of a group's partition, with spaces between.
func rows(t testing.TB, d database, s store, table, group string) string {
	t.Helper()
	text := `select "offset" from ` + table + ` where "group_id" = '` + group + `' order by "offset"`
	if d.dialect == offsetsql.MySQL {
		text = strings.ReplaceAll(text, `"`, "`")
	}
	found, err := s.db.QueryContext(testContext(t), text)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var list []string
	for found.Next() {
		var offset string
		if err := found.Scan(&offset); err != nil {
			t.Fatal(err)
		}
		list = append(list, offset)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, " ")
}

func wantOffset(t testing.TB, s store, key client.OffsetKey, want zkcoord.Offset) {
	t.Helper()
	if got, ok, err := s.Load(testContext(t), key); err != nil || !ok || got != want {
		t.Errorf("%v: %+v, %v, %v; want %+v", key, got, ok, err, want)
	}
}

// MysqlOffsetStorage adds a row under the id of its consumer at each start, and changes the row of the group.
func membersInJava(t *testing.T, d database) {
	s := open(t, d, offsetsql.WithTable("with_java"))
	if d.dialect == offsetsql.MySQL {
		// As the original's manual says.
		execute(t, d, s, `create table "with_java" ("id" int(11) not null auto_increment, "topic" varchar(255) not null, "partition" varchar(255) not null,
			"group_id" varchar(255) not null, "offset" int(11) not null, "msg_id" int(11) not null, primary key ("id"),
			key "TOPIC_PART_GRP_IDX" ("topic", "partition", "group_id")) engine=InnoDB default charset=utf8`)
	}
	create(t, s) // leaves what is there
	for range 2 {
		execute(t, d, s, `insert into with_java (topic, "partition", group_id, "offset", msg_id) values ('orders', '0-2', 'g_host-1', 0, -1)`)
	}
	if got, ok, err := s.Load(testContext(t), key("g")); ok || err != nil {
		t.Fatalf("the row of a member passes for the group's: %+v, %v", got, err)
	}
	for _, offset := range []zkcoord.Offset{{MessageID: 7, Offset: 700}, {MessageID: 8, Offset: 800}} {
		if err := s.Save(testContext(t), map[client.OffsetKey]zkcoord.Offset{key("g"): offset}); err != nil {
			t.Fatal(err)
		}
		wantOffset(t, s, key("g"), offset)
	}
	execute(t, d, s, `update with_java set "offset" = 900, msg_id = -5 where topic = 'orders' and "partition" = '0-2' and group_id = 'g'`)
	wantOffset(t, s, key("g"), zkcoord.Offset{MessageID: -5, Offset: 900})
	if group, member := rows(t, d, s, "with_java", "g"), rows(t, d, s, "with_java", "g_host-1"); group != "900" || member != "0 0" {
		t.Errorf("the group has rows with %q, its member with %q", group, member)
	}
}

// Two processes that both found no row may each have added one.
func twoRows(t *testing.T, d database) {
	s := create(t, open(t, d, offsetsql.WithTable("two_rows")))
	for _, offset := range []string{"50", "40"} {
		execute(t, d, s, `insert into two_rows (topic, "partition", group_id, "offset", msg_id) values ('orders', '0-2', 'g', `+offset+`, -1)`)
	}
	wantOffset(t, s, key("g"), zkcoord.Offset{MessageID: -1, Offset: 40})
	for range 2 { // the second changes nothing, and MySQL says that no row was changed
		if err := s.Save(testContext(t), map[client.OffsetKey]zkcoord.Offset{key("g"): {MessageID: 1, Offset: 60}}); err != nil {
			t.Fatal(err)
		}
		if got := rows(t, d, s, "two_rows", "g"); got != "60 60" {
			t.Errorf("rows with %q", got)
		}
	}
}

func negativeOffset(t *testing.T, d database) {
	s := create(t, open(t, d, offsetsql.WithTable("negative")))
	execute(t, d, s, `insert into negative (topic, "partition", group_id, "offset", msg_id) values ('orders', '0-2', 'g', -3, -1)`)
	if _, _, err := s.Load(testContext(t), key("g")); err == nil || !strings.Contains(err.Error(), "-3, which is none") {
		t.Errorf("%v", err)
	}
}

// upper and lower case are different names in the tables that CreateTable makes.
func caseMatters(t *testing.T, d database) {
	s := create(t, open(t, d, offsetsql.WithTable("cases")))
	lower, upper := key("g"), key("G")
	for i, key := range []client.OffsetKey{lower, upper} {
		if err := s.Save(testContext(t), map[client.OffsetKey]zkcoord.Offset{key: {MessageID: -1, Offset: int64(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	wantOffset(t, s, lower, zkcoord.Offset{MessageID: -1, Offset: 0})
	wantOffset(t, s, upper, zkcoord.Offset{MessageID: -1, Offset: 1})
}
