package server

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/metaq/metaq/protocol"
	"github.com/metaq/metaq/zkcoord"
)

// cluster is what a broker that is not alone has to do with ZooKeeper. Nothing of it is waited for on an event loop.
type cluster struct {
	server    *Server
	log       zerolog.Logger // throttled
	session   *zkcoord.Session
	directory *zkcoord.Directory
	broker    *zkcoord.Broker
	routes    routes

	topics atomic.Int64 // that are to be registered
	quit   chan struct{}
	off    sync.WaitGroup
	lost   atomic.Int64 // how often a session was lost
	begun  atomic.Int64 // sessions there were
}

const (
	// topicsEvery is how often changes of topics are told at most: many topics that are made at once are few looks at them, and a topic is told
	// of within a second.
	topicsEvery = 250 * time.Millisecond
	// unregisterBound is how long a stop waits for ZooKeeper.
	unregisterBound = 3 * time.Second
)

// joinCluster begins to register the broker, which listens by now, and returns at once.
func joinCluster(s *Server) (*cluster, error) {
	cfg := s.config().ZooKeeper
	session := time.Duration(cfg.SessionTimeout) * time.Millisecond
	k := &cluster{server: s, log: throttled(s.log), quit: make(chan struct{})}
	var err error
	k.session, err = zkcoord.Connect(zkcoord.Config{
		Connect: cfg.Connect, SessionTimeout: session,
		// One server that takes connections and is silent must not cost the session while others answer.
		ConnectTimeout: min(time.Duration(cfg.ConnectTimeout)*time.Millisecond, session/3),
		Log:            slog.New(zerolog.NewSlogHandler(s.log)),
	})
	if err != nil {
		return nil, err
	}
	layout := zkcoord.Layout(cfg.Root)
	k.directory = zkcoord.NewDirectory(k.session, layout)
	k.broker = zkcoord.RegisterBroker(k.session, layout, zkcoord.BrokerInfo{
		ID: s.brokerID, Addr: s.advertised(), Checksum: s.config().Checksum(), Sessions: openSessions(s.config().DataPath, s.log),
	}, k.stateChanged)
	if ip := net.ParseIP(s.host); ip != nil && ip.IsLoopback() {
		s.log.Warn().Str("address", s.advertised()).Msg("clients on other machines cannot reach the address that is registered: set hostName")
	}
	k.routes.of = map[protocol.Topic]*routeEntry{}
	k.off.Go(k.tellTopics)
	k.off.Go(k.countSessions)
	return k, nil
}

// stateChanged is told what is in the way of the registration, and nil when nothing is.
func (k *cluster) stateChanged(err error) {
	if err != nil {
		k.log.Warn().Err(err).Int("broker_id", k.server.brokerID).Msg("not registered in ZooKeeper; the broker serves those who know its address, and tries on")
		return
	}
	k.log.Info().Int("broker_id", k.server.brokerID).Str("address", k.server.advertised()).Msg("registered in ZooKeeper")
}

// tellTopics keeps the topics that are registered those of the catalog.
func (k *cluster) tellTopics() {
	told := map[protocol.Topic]zkcoord.TopicOffer{}
	pause := time.NewTicker(topicsEvery)
	defer pause.Stop()
	for {
		offers := k.server.offers()
		changed := map[protocol.Topic]zkcoord.TopicOffer{}
		for name, o := range offers {
			if before, ok := told[name]; !ok || before != o {
				changed[name] = o
			}
		}
		var gone []protocol.Topic
		for name := range told {
			if _, ok := offers[name]; !ok {
				gone = append(gone, name)
			}
		}
		if len(changed) > 0 {
			k.broker.SetTopics(changed)
		}
		if len(gone) > 0 {
			k.broker.RemoveTopics(gone...)
		}
		told = offers
		k.topics.Store(int64(len(offers)))
		select {
		case <-k.server.catalog.changed:
		case <-k.quit:
			return
		}
		select {
		case <-pause.C:
		case <-k.quit:
			return
		}
	}
}

// offers are the topics as others are to know them: those of the configuration, with wildcards under their literal names as the original has
// them, and those that have messages.
func (s *Server) offers() map[protocol.Topic]zkcoord.TopicOffer {
	offers := map[protocol.Topic]zkcoord.TopicOffer{}
	for _, t := range s.config().Topics {
		if t.Wildcard() {
			offers[protocol.Topic(t.Name)] = zkcoord.TopicOffer{Partitions: int32(t.NumPartitions), Publish: t.AcceptPublish, Subscribe: t.AcceptSubscribe}
		}
	}
	s.catalog.each(func(t *topic) {
		o := zkcoord.TopicOffer{Partitions: t.accepts, Publish: t.conf.AcceptPublish, Subscribe: t.conf.AcceptSubscribe}
		if t.accepts == 0 { // the configuration does not name it any more: what is there can be read
			o = zkcoord.TopicOffer{Partitions: int32(len(t.parts)), Subscribe: true}
		}
		offers[t.name] = o
	})
	return offers
}

// countSessions counts what statistics tell of the connection.
func (k *cluster) countSessions() {
	var last zkcoord.Status
	for {
		now, changed := k.session.Status()
		if now.State == zkcoord.Lost && last.State != zkcoord.Lost {
			k.lost.Add(1)
		}
		if now.ID != last.ID {
			k.begun.Add(1)
		}
		last = now
		select {
		case <-changed:
		case <-k.quit:
			return
		}
	}
}

// leave ends the registration and gives clients time to go elsewhere, while the broker still serves them. Where ZooKeeper does not answer, nobody can be
// told, and the nodes go with the session.
func (k *cluster) leave(ctx context.Context) {
	close(k.quit)
	k.off.Wait()
	registered := k.broker.Standing() == nil
	bounded, cancel := context.WithTimeout(ctx, unregisterBound)
	defer cancel()
	err := k.broker.Withdraw(bounded)
	k.session.Close() // the topics go with it
	if err != nil {
		if registered {
			k.server.log.Warn().Err(err).Msg("could not take the registration out of ZooKeeper; it goes with the session")
		}
		return
	}
	if !registered {
		return
	}
	grace := time.Duration(k.server.config().ZooKeeper.SyncTime) * time.Millisecond
	if end, ok := ctx.Deadline(); ok {
		grace = min(grace, time.Until(end)/2) // the rest is for the connections
	}
	wait := time.NewTimer(grace)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}
