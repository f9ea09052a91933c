package sql_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetsql"
	"github.com/metaq/metaq/zkcoord"
)

func Example() {
	db, err := sql.Open("sqlite", ":memory:") // in a program: your database, with the driver that you like
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // each connection to :memory: would have its own
	store, err := offsetsql.New(db, offsetsql.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := store.CreateTable(ctx); err != nil {
		log.Fatal(err)
	}

	// A consumer does what follows by itself, once it has the store:
	// client.NewConsumer("127.0.0.1:8123", "billing", []string{"orders"}, client.WithOffsetStore(store))
	key := client.OffsetKey{Group: "billing", Topic: "orders", Partition: zkcoord.Partition{Broker: 0, Number: 2}}
	if err := store.Save(ctx, map[client.OffsetKey]zkcoord.Offset{key: {MessageID: 17, Offset: 4711}}); err != nil {
		log.Fatal(err)
	}
	offset, ok, err := store.Load(ctx, key)
	fmt.Println(offset.Offset, ok, err)
	// Output: 4711 true <nil>
}
