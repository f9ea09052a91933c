package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/metaq/metaq/client"
)

// groupName is who reads.
const groupName = "backup"

// group are consumers that share the partitions.
type group struct {
	members []*member
	stop    context.CancelFunc
	over    sync.WaitGroup
	left    sync.Once
	err     error // of leave
}

type member struct {
	*client.Consumer
	id   string
	read atomic.Int64
	err  error // why it has ended; after over
}

func join(o options, topics ...*topic) (*group, error) {
	ctx, stop := context.WithCancel(context.Background())
	g := &group{stop: stop}
	byName := map[string]*topic{}
	for _, t := range topics {
		byName[t.name] = t
	}
	for n := range o.members {
		m := &member{id: fmt.Sprint("member-", n+1)}
		var err error
		if m.Consumer, err = client.NewConsumer(o.cluster, groupName, []string{PlainTopic, OrderedTopic}, client.WithConsumerID(m.id)); err != nil {
			return nil, errors.Join(err, g.leave())
		}
		g.members = append(g.members, m)
		g.over.Go(func() {
			m.err = m.Run(ctx, func(_ context.Context, r client.Received) error {
				byName[r.Topic].take(r)
				m.read.Add(1)
				return nil
			})
		})
	}
	return g, nil
}

// leave commits and ends the members.
func (g *group) leave() error {
	g.left.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, m := range g.members {
			g.err = errors.Join(g.err, m.Close(ctx))
		}
		g.stop()
		g.over.Wait()
		for _, m := range g.members {
			g.err = errors.Join(g.err, m.err)
		}
	})
	return g.err
}

func (g *group) read() (n int) {
	for _, m := range g.members {
		n += int(m.read.Load())
	}
	return n
}

// working says whether every member has read something.
func (g *group) working() bool {
	for _, m := range g.members {
		if m.read.Load() == 0 {
			return false
		}
	}
	return true
}

func (g *group) String() string {
	var parts []string
	for _, m := range g.members {
		parts = append(parts, fmt.Sprintf("%s %d", m.id, m.read.Load()))
	}
	return strings.Join(parts, ", ")
}
