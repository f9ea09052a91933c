package client

import (
	"context"
	"errors"
	"time"

	"github.com/metaq/metaq/zkcoord"
)

// share assigns what a member of a group has. It is the zkcoord.Holder of the member.
type share struct {
	follower
	id      string
	member  *zkcoord.Member
	patient context.Context // ends when whoever closes the consumer does not wait any longer
	giveUp  context.CancelFunc
	session int64 // in which the first partitions were got; 0 before. Under Consumer.mu
}

func newShare(c *Consumer) *share {
	s := &share{follower: newFollower(c), id: c.options.id}
	s.patient, s.giveUp = context.WithCancel(context.Background())
	if s.id == "" {
		s.id = zkcoord.NewConsumerID()
	}
	return s
}

func (s *share) start() {
	s.follow()
	s.member = zkcoord.Join(s.c.cluster.session, s.c.cluster.layout, zkcoord.MemberConfig{
		Group: s.c.group, Consumer: s.id, Topics: s.c.topics, Assign: s.c.options.assign, Log: s.c.options.log,
	}, s)
}

// leave gives the partitions to others. After the session's time-out they have them anyway, so it takes no longer.
func (s *share) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.cluster.session.Timeout())
	defer cancel()
	s.c.mu.Lock()
	joined := s.member != nil
	s.c.mu.Unlock()
	if !joined {
		return nil
	}
	defer s.end()
	defer context.AfterFunc(ctx, s.giveUp)()
	err := errors.Join(s.c.awaitDone(ctx, func(*reader) bool { return true }), s.c.Commit(ctx))
	return errors.Join(err, s.member.Leave(ctx))
}

// Acquire begins to read what the member has got.
func (s *share) Acquire(claims []zkcoord.Claim) {
	status, _ := s.c.cluster.session.Status()
	s.c.mu.Lock()
	first := s.session == 0
	if first {
		s.session = status.ID
	}
	s.c.mu.Unlock()
	list, got := make([]claimed, len(claims)), make([]zkcoord.TopicPartition, len(claims))
	for i, claim := range claims {
		list[i], got[i] = claimed{claim.TopicPartition, claim.Valid, first}, claim.TopicPartition
	}
	s.tell(got, nil)
	s.c.acquire(list...)
}

// Release stops what the member gives up, waits until nothing of it is in a handler's hands, and keeps how far it came. A handler that takes longer than the
// session's time-out gets its message's successors, and perhaps the message itself, handed over elsewhere meanwhile.
func (s *share) Release(claims []zkcoord.Claim) {
	var mine, lost []zkcoord.TopicPartition
	for _, claim := range claims {
		if claim.Valid() {
			mine = append(mine, claim.TopicPartition)
		} else {
			lost = append(lost, claim.TopicPartition)
		}
	}
	if len(lost) > 0 {
		s.restore(s.c.drop(lost))
		s.tell(nil, lost) // now, and not when ZooKeeper is back
	}
	if len(mine) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(s.patient, s.c.cluster.session.Timeout())
	defer cancel()
	if err := s.c.release(ctx, mine); err != nil {
		s.c.options.log.Warn("partitions are given up, and not all is done or committed", "group", s.c.group, "error", err)
	}
	s.tell(nil, mine)
}

func (s *share) tell(got, gaveUp []zkcoord.TopicPartition) {
	if fn := s.c.options.rebalanced; fn != nil {
		fn(got, gaveUp)
	}
}

// restore sees to it that a ZooKeeper that comes back without anything does not make the group begin again: the consumer that read a partition when the
// session was lost keeps how far it came there, if there is no offset at all. A place to begin that was never stored is left out: it would undo what the next
// owner of the partition is about to store.
func (s *share) restore(lost []*reader) {
	if len(lost) == 0 || s.c.options.offsets != nil {
		return
	}
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.closing {
		return
	}
	been := map[OffsetKey]zkcoord.Offset{}
	for _, r := range lost {
		if r.known && (r.stored || r.changed) {
			been[r.key()] = r.position
		}
	}
	s.c.done.Go(func() {
		store := newZooKeeperOffsets(s.c.cluster, s.c.group) // what the others remember of versions is theirs
		pause := newBackoff()
		for len(been) > 0 && s.c.ctx.Err() == nil && s.c.cluster.session.Await(s.c.ctx) == nil {
			for key, offset := range been {
				if s.restoreOne(store, key, offset) == nil {
					delete(been, key)
				}
			}
			select {
			case <-time.After(pause.NextBackOff()):
			case <-s.c.ctx.Done():
			}
		}
	})
}

func (s *share) restoreOne(store zooKeeperOffsets, key OffsetKey, offset zkcoord.Offset) error {
	if _, ok, err := store.Load(s.c.ctx, key); ok || err != nil {
		return err
	}
	s.c.mu.Lock()
	reading := s.c.readers[zkcoord.TopicPartition{Topic: key.Topic, Partition: key.Partition}] != nil
	s.c.mu.Unlock()
	if reading {
		return nil // its reader does it
	}
	err := store.Save(s.c.ctx, map[OffsetKey]zkcoord.Offset{key: offset})
	var moved *zkcoord.MovedError
	if errors.As(err, &moved) {
		return nil // there is one now
	}
	return err
}

// othersMayRestoreLocked says whether the offset of a partition may still be restored by the consumer that had it when a session was lost.
func (s *share) othersMayRestoreLocked(r *reader) bool {
	status, _ := s.c.cluster.session.Status()
	return status.ID != s.session && time.Since(r.began) < s.c.cluster.session.Timeout()
}
