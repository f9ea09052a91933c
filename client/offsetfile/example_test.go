package offsetfile_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/client/offsetfile"
	"github.com/metaq/metaq/zkcoord"
)

func Example() {
	dir, err := os.MkdirTemp("", "offsets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := offsetfile.Open(filepath.Join(dir, "offsets.json"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close() // after the consumer's Close

	// A consumer does what follows by itself, once it has the store:
	// client.NewConsumer("127.0.0.1:8123", "billing", []string{"orders"}, client.WithOffsetStore(store))
	ctx := context.Background()
	key := client.OffsetKey{Group: "billing", Topic: "orders", Partition: zkcoord.Partition{Broker: 0, Number: 2}}
	if err := store.Save(ctx, map[client.OffsetKey]zkcoord.Offset{key: {MessageID: 17, Offset: 4711}}); err != nil {
		log.Fatal(err)
	}
	offset, ok, err := store.Load(ctx, key)
	fmt.Println(offset.Offset, ok, err)
	// Output: 4711 true <nil>
}
