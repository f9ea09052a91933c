package server

import (
	"os"
	"testing"
	"time"
	"context"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/server/config"
)

func TestSmoke(t *testing.T) {
	cfg, err := config.Load(os.Getenv("CV_INI"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, zerolog.New(os.Stderr).Level(zerolog.DebugLevel))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(os.Getenv("CV_READY"), []byte(s.Addr()), 0o644)
	d, _ := time.ParseDuration(os.Getenv("CV_TIME"))
	time.Sleep(d)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
