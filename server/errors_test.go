package server

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/store"
)

// A consumer that asks for a damaged message again and again must not fill the disk with what the broker says about it.
func TestOnWire_DamageIsNotLoggedAtEachRead(t *testing.T) {
	var log bytes.Buffer
	cfg := testConfig(t, nil)
	s, err := newServer(cfg, zerolog.New(&log), storeOptions(cfg, zerolog.Nop()))
	if err != nil {
		t.Fatal(err)
	}
	defer s.store.Close()
	for range 1000 {
		if status, text := s.onWire(&store.CorruptError{File: "a.log", Offset: 7, Reason: "a test"}); status != protocol.StatusError || text == "" {
			t.Fatalf("%d %q", status, text)
		}
	}
	if n := bytes.Count(log.Bytes(), []byte("damaged at byte 7")); n < 1 || n > 100 {
		t.Errorf("1,000 reads of a damaged message: %d lines in the log", n)
	}
}
