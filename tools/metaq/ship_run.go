//go:build linux

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"github.com/metaq/metaq/tools/ship"
)

// shipRun ships until it is told to stop.
type shipRun struct {
	app    *app
	config ship.Config
	log    *slog.Logger
	reread func() (ship.Config, error) // nil without a file
}

func (r *shipRun) run(ctx context.Context) error {
	// An interrupt stops in order here, as SIGTERM does, and a second one of either ends the process.
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as it is below nohup
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
	}
	for {
		again, err := r.ship(ctx, hangups)
		if err != nil || !again {
			return err
		}
	}
}

// ship runs one agent, and says whether there is to be another one.
func (r *shipRun) ship(ctx context.Context, hangups <-chan os.Signal) (again bool, err error) {
	agent, err := ship.Open(r.config, r.log)
	if err != nil {
		return false, err
	}
	r.log.Info("shipping", "broker", r.config.Broker, "checkpoint", r.config.Dir, "http", agent.HTTPAddr(), "version", releaseVersion(), "pid", os.Getpid())
	began := time.Now()
	ctx, end := context.WithCancel(ctx)
	defer end()
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	for {
		select {
		case err := <-ended:
			if err != nil || again {
				return again, err
			}
			s, took := agent.Counted(), time.Since(began).Seconds()
			r.app.say("%d %s, %s in %.1f s: %.0f lines/s, %s/s", s.Messages, english.PluralWord(int(s.Messages), "line", ""), humanize.Bytes(uint64(s.Bytes)), took, float64(s.Messages)/took, humanize.Bytes(uint64(float64(s.Bytes)/took)))
			if r.config.Once && s.Messages == 0 {
				err = r.nothingToShip(ctx)
			}
			return false, err
		case <-hangups:
			if r.reread != nil {
				if !r.reload() {
					continue
				}
				again = true
			}
			end()
		}
	}
}

// reload reads the configuration again. One with a mistake is not taken.
func (r *shipRun) reload() bool {
	config, err := r.reread()
	if err != nil {
		r.log.Error("the configuration has a mistake, the one before stays in use", "error", err)
		return false
	}
	r.log.Info("the configuration was read again: the agent stops and starts")
	r.config = config
	return true
}

// nothingToShip is the error of a mistyped name: there is none of the files, and the checkpoint has none either.
func (r *shipRun) nothingToShip(ctx context.Context) error {
	s, err := ship.ReadStatus(ctx, r.config.Dir)
	if err != nil {
		return err
	}
	var paths []string
	for _, in := range s.Inputs {
		if len(in.Files) > 0 {
			return nil
		}
	}
	for _, in := range r.config.Inputs {
		paths = append(paths, in.Paths...)
	}
	return notFoundf("there is nothing to ship: no file that can be read is at %s", strings.Join(paths, " "))
}
