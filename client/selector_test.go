package client

import (
	"encoding/json"
	"os"
	"strconv"
	"testing"
)

// The vectors are those of the Python client as well: a key has the same partition in both.
func TestByKey_AsEveryClient(t *testing.T) {
	text, err := os.ReadFile("testdata/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Rows []struct {
			Key   string         `json:"key"`
			Among map[string]int `json:"among"`
		} `json:"rows"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Rows) == 0 {
		t.Fatal("no vectors")
	}
	for _, row := range vectors.Rows {
		for among, want := range row.Among {
			n, err := strconv.Atoi(among)
			if err != nil {
				t.Fatal(err)
			}
			partitions := make([]Partition, n)
			for i := range partitions {
				partitions[i].Number = int32(i)
			}
			if got := ByKey(&Message{Key: row.Key}, partitions); int(got.Number) != want {
				t.Errorf("key %q among %d: partition %d, want %d", row.Key, n, got.Number, want)
			}
		}
	}
}
