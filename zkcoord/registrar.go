package zkcoord

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// A Registration is a node that somebody wants to be there, and how.
type Registration struct {
	Path string
	Data []byte
	Kind Kind
	// Stage orders what is made: nothing of a stage is, as long as something of an earlier one is not there. What all others lean on, such as the
	// master node of a broker, has stage 0.
	Stage int
	// Ours says whether an ephemeral node that another session has made, with this data, is left over from ourselves and may be taken away. nil: it is
	// waited for until it goes with its session.
	Ours func(data []byte, owner int64) bool
}

// TakenError says that a node is there and is somebody else's.
type TakenError struct {
	Path  string
	Data  string
	Owner int64 // session; 0: none, the node is persistent
	Same  bool  // the data are what we would write
}

func (e *TakenError) Error() string {
	if e.Owner == 0 {
		return fmt.Sprintf("%s is taken by somebody else, %q, who has no session: a node that was made by hand, or restored from a copy of ZooKeeper, stays until somebody deletes it", e.Path, e.Data)
	}
	if e.Same {
		return fmt.Sprintf("%s is taken by somebody else, who says that it is at our address, %q (session %#x). Two with the same id and address (brokerId, hostName)? "+
			"What an earlier process has left, whose data are not here, goes with its session", e.Path, e.Data, e.Owner)
	}
	return fmt.Sprintf("%s is taken by somebody else, %q (session %#x). Two with the same id? One that is gone goes with its session", e.Path, e.Data, e.Owner)
}

// A Registrar keeps nodes in ZooKeeper as they are wanted, over all sessions and outages, until it is closed.
type Registrar struct {
	session *Session
	onState func(error)
	begun   func(session int64) // before anything is made in a session; may be nil

	mu     sync.Mutex
	wanted map[string]Registration
	stands map[string]standing // what was made, or found
	gone   map[string]Registration
	wake   chan struct{}
	done   chan struct{} // closed and made anew when everything is as wanted
	synced bool
	result error // of the last look
	seenIn int64 // session of the last look
	quit   context.CancelFunc
	off    sync.WaitGroup
}

// standing is a node as the registrar has left it.
type standing struct {
	session int64
	data    []byte
	version int32
	doubt   bool // it may be gone
}

// is says whether a node stands as it is wanted in a session. Persistent ones are looked at again in a new one: it may be that of a ZooKeeper that knows
// nothing.
func (at standing) is(n Registration, session int64) bool {
	return !at.doubt && at.session == session && bytes.Equal(at.data, n.Data)
}

// stays says whether a node that is there can be what is wanted: at most its data have to be changed.
func (n Registration) stays(there Stat, session int64) bool {
	return n.Kind == Persistent && there.Owner == 0 || there.Owner == session
}

// leftOver says whether a node that is there and cannot stay is from an earlier session of ours, and not somebody else's.
func (r *Registrar) leftOver(n Registration, data []byte, there Stat) bool {
	r.mu.Lock()
	at, known := r.stands[n.Path]
	r.mu.Unlock()
	return known && at.session == there.Owner || n.Ours != nil && n.Ours(data, there.Owner)
}

// NewRegistrar makes a Registrar without any nodes. onState, if not nil, is called with nil when everything is there that is wanted, and with what stands
// in the way otherwise, each time that changes.
func NewRegistrar(s *Session, onState func(error)) *Registrar {
	return newRegistrar(s, nil, onState)
}

func newRegistrar(s *Session, begun func(session int64), onState func(error)) *Registrar {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Registrar{
		session: s, onState: onState, begun: begun, wanted: map[string]Registration{}, stands: map[string]standing{}, gone: map[string]Registration{},
		wake: make(chan struct{}, 1), done: make(chan struct{}), result: errNotYet, quit: cancel,
	}
	r.off.Go(func() { r.run(ctx) })
	return r
}

// Set wants nodes, or other data in nodes that are wanted.
func (r *Registrar) Set(nodes ...Registration) {
	r.mu.Lock()
	for _, n := range nodes {
		r.wanted[n.Path] = n
		delete(r.gone, n.Path)
	}
	r.changedLocked()
	r.mu.Unlock()
}

// Unset wants nodes no longer: they are removed.
func (r *Registrar) Unset(paths ...string) {
	r.mu.Lock()
	for _, p := range paths {
		if n, ok := r.wanted[p]; ok {
			delete(r.wanted, p)
			r.gone[p] = n
		}
	}
	r.changedLocked()
	r.mu.Unlock()
}

// seen takes what somebody has seen of a node, perhaps a while ago. When it is not as the registrar has left it, it is looked at again.
func (r *Registrar) seen(path string, exists bool, owner int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, wanted := r.wanted[path]
	at, known := r.stands[path]
	status, _ := r.session.Status()
	if !wanted || !known || at.session != status.ID || exists && owner == at.session {
		return
	}
	at.doubt = true
	r.stands[path] = at
	r.changedLocked()
}

func (r *Registrar) changedLocked() {
	r.synced = false
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Await waits until everything is as it is wanted.
func (r *Registrar) Await(ctx context.Context) error {
	for {
		r.mu.Lock()
		synced, done := r.synced, r.done
		r.mu.Unlock()
		if synced {
			return nil
		}
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errNotYet is in the way until a session's nodes were made for the first time.
var errNotYet = errors.New("zookeeper: not everything is registered yet")

// Standing is nil while the nodes that were wanted at the last look are there, and says what is in the way otherwise. Nodes that were wanted since are no
// reason. It does not wait.
func (r *Registrar) Standing() error {
	status, _ := r.session.Status()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case status.State == Lost || status.ID == 0:
		return fmt.Errorf("zookeeper at %s does not answer", r.session.config.Connect)
	case status.State == Closed:
		return ErrClosed
	case r.result == nil && r.seenIn != status.ID:
		return errNotYet // in this session
	}
	return r.result
}

// Close ends the registrar. What it has made stays; see Clear.
func (r *Registrar) Close() {
	r.quit()
	r.off.Wait()
}

// Clear removes everything, the latest stage first, and waits for that.
func (r *Registrar) Clear(ctx context.Context) error {
	r.mu.Lock()
	paths := slices.Collect(maps.Keys(r.wanted))
	r.mu.Unlock()
	r.Unset(paths...)
	return r.Await(ctx)
}

func (r *Registrar) run(ctx context.Context) {
	pause, told := firstPause, errors.New("nothing was told yet")
	var done, begun int64 // session in which everything was made, and that was told
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		status, changed := r.session.Status()
		if status.State != Connected || status.ID == done {
			select {
			case <-r.wake:
			case <-retry.C:
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
		if status, _ = r.session.Status(); status.State != Connected {
			continue
		}
		if r.begun != nil && status.ID != begun {
			r.begun(status.ID)
		}
		begun = status.ID
		err := r.reconcile(ctx, status.ID)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.result, r.seenIn = err, status.ID
		r.mu.Unlock()
		if same := err == nil && told == nil || err != nil && told != nil && err.Error() == told.Error(); !same && r.onState != nil {
			r.onState(err)
		}
		told, done = err, status.ID
		if err == nil {
			pause = firstPause
			continue
		}
		retry.Reset(pause)
		pause = min(2*pause, mostPause)
	}
}

// reconcile makes what is wanted and not there in this session, and removes what is not wanted any more.
func (r *Registrar) reconcile(ctx context.Context, session int64) error {
	r.mu.Lock()
	gone := slices.Collect(maps.Values(r.gone))
	wanted := slices.Collect(maps.Values(r.wanted))
	r.mu.Unlock()
	var stuck error // keeps nothing else from being registered
	slices.SortFunc(gone, func(a, b Registration) int { return -byStage(a, b) })
	for _, kind := range []Kind{Ephemeral, Persistent} { // persistent ones may be above the others
		some := slices.DeleteFunc(slices.Clone(gone), func(n Registration) bool { return n.Kind != kind })
		err := stages(some, func(stage []Registration) error { return r.removeAll(ctx, stage) })
		if err != nil && !refused(err) {
			return err
		}
		stuck = cmp.Or(stuck, err)
	}
	slices.SortFunc(wanted, byStage)
	if err := stages(wanted, func(stage []Registration) error { return r.makeAll(ctx, session, stage) }); err != nil {
		return err
	}
	if stuck != nil {
		return stuck
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wake) == 0 && !r.synced {
		r.synced = true
		close(r.done)
		r.done = make(chan struct{})
	}
	return nil
}

func byStage(a, b Registration) int {
	return cmp.Or(cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.Path, b.Path))
}

// stages does something with the nodes of one stage after the other.
func stages(nodes []Registration, do func([]Registration) error) error {
	for len(nodes) > 0 {
		n := slices.IndexFunc(nodes, func(o Registration) bool { return o.Stage != nodes[0].Stage })
		if n < 0 {
			n = len(nodes)
		}
		if err := do(nodes[:n]); err != nil {
			return err
		}
		nodes = nodes[n:]
	}
	return nil
}

// makeAll makes the nodes of a stage that do not stand as they are wanted, many with one request.
func (r *Registrar) makeAll(ctx context.Context, session int64, nodes []Registration) error {
	var missing []Registration
	r.mu.Lock()
	for _, n := range nodes {
		if at, known := r.stands[n.Path]; !known || !at.is(n, session) {
			missing = append(missing, n)
		}
	}
	r.mu.Unlock()
	return eachAtOnce(inRequests(missing, Registration.size), func(chunk []Registration) error {
		free, inTheWay := chunk, error(nil)
		err := r.makeTogether(ctx, session, free)
		if errors.Is(err, ErrNodeExists) {
			free, inTheWay = r.clean(ctx, session, chunk)
			err = r.makeTogether(ctx, session, free)
		}
		if errors.Is(err, ErrNodeExists) || refused(err) { // somebody else works on them, or one of them cannot be made: the others can
			err = eachAtOnce(free, func(n Registration) error { return r.make(ctx, session, n) })
		}
		return cmp.Or(err, inTheWay)
	})
}

// size is about what a node takes of a request.
func (n Registration) size() int { return len(n.Path) + len(n.Data) }

// makeTogether makes all of some nodes, or none: with ErrNodeExists one of them is there.
func (r *Registrar) makeTogether(ctx context.Context, session int64, nodes []Registration) error {
	if len(nodes) == 0 {
		return nil
	}
	list := make([]NewNode, len(nodes))
	for i, n := range nodes {
		list[i] = NewNode{n.Path, n.Data, n.Kind}
	}
	if err := r.session.CreateAll(ctx, list); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range nodes {
		r.madeLocked(n, session)
	}
	return nil
}

// clean looks at nodes of which some are there. It removes those that are left over from us, many with one request, sees to those that may stay, and returns
// those that can be made now, also when others cannot.
func (r *Registrar) clean(ctx context.Context, session int64, nodes []Registration) (free []Registration, err error) {
	var mu sync.Mutex
	var over []Change
	err = eachAtOnce(nodes, func(n Registration) error {
		data, stat, err := r.session.Get(ctx, n.Path)
		there := err == nil
		if err != nil && !errors.Is(err, ErrNoNode) {
			return err
		}
		if there && (n.stays(stat, session) || !r.leftOver(n, data, stat)) {
			return r.make(ctx, session, n)
		}
		mu.Lock()
		defer mu.Unlock()
		free = append(free, n)
		if there {
			over = append(over, Change{Path: n.Path, Version: stat.Version})
		}
		return nil
	})
	if len(over) == 0 {
		return free, err
	}
	if failed := r.session.DeleteAll(ctx, over); failed != nil && !errors.Is(failed, ErrNoNode) && !errors.Is(failed, ErrBadVersion) && !refused(failed) {
		return nil, failed
	} // what is there yet is seen to node by node
	return free, err
}

// make makes one node, unless it stands as it is wanted.
func (r *Registrar) make(ctx context.Context, session int64, n Registration) error {
	r.mu.Lock()
	at, known := r.stands[n.Path]
	r.mu.Unlock()
	if known && at.is(n, session) {
		return nil
	}
	err := r.session.Create(ctx, n.Path, n.Data, n.Kind)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.madeLocked(n, session)
		return nil
	}
	if !errors.Is(err, ErrNodeExists) {
		return err
	}
	data, stat, err := r.session.Get(ctx, n.Path)
	switch {
	case errors.Is(err, ErrNoNode):
		return r.make(ctx, session, n) // it went just now
	case err != nil:
		return err
	case n.stays(stat, session):
		version := stat.Version
		if !bytes.Equal(data, n.Data) {
			if version, err = r.session.Set(ctx, n.Path, n.Data, stat.Version); err != nil {
				return err
			}
		}
		r.stand(n, standing{session: session, data: n.Data, version: version})
		return nil
	}
	if !r.leftOver(n, data, stat) {
		return &TakenError{Path: n.Path, Data: string(data), Owner: stat.Owner, Same: bytes.Equal(data, n.Data)}
	}
	if err := r.session.Delete(ctx, n.Path, stat.Version); err != nil && !errors.Is(err, ErrNoNode) {
		return err
	}
	return r.make(ctx, session, n)
}

// madeLocked notes that a node was made. If one of stage 0 was there before in this session, whoever took it away may have taken the others too: all are looked
// at again.
func (r *Registrar) madeLocked(n Registration, session int64) {
	if at, known := r.stands[n.Path]; known && at.doubt && at.session == session && n.Stage == 0 {
		for p, other := range r.stands {
			other.doubt = true
			r.stands[p] = other
		}
	}
	r.stands[n.Path] = standing{session: session, data: n.Data}
}

func (r *Registrar) stand(n Registration, at standing) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stands[n.Path] = at
}

// removeAll removes those nodes of a stage that are ours, many with one request.
func (r *Registrar) removeAll(ctx context.Context, nodes []Registration) error {
	var mu sync.Mutex
	var ours []Registration
	err := eachAtOnce(nodes, func(n Registration) error {
		there, err := r.hasOurs(ctx, n)
		if err != nil {
			return err
		}
		if !there {
			r.forget(n)
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		ours = append(ours, n)
		return nil
	})
	if err != nil {
		return err
	}
	return eachAtOnce(inRequests(ours, Registration.size), func(chunk []Registration) error {
		list := make([]Change, len(chunk))
		for i, n := range chunk {
			list[i] = Change{Path: n.Path, Version: AnyVersion}
		}
		err := r.session.DeleteAll(ctx, list)
		if errors.Is(err, ErrNoNode) || errors.Is(err, ErrNotEmpty) || refused(err) {
			return eachAtOnce(chunk, func(n Registration) error { return r.remove(ctx, n) })
		}
		if err != nil {
			return err
		}
		for _, n := range chunk {
			r.forget(n)
		}
		return nil
	})
}

// hasOurs says whether a node is there that we have made.
func (r *Registrar) hasOurs(ctx context.Context, n Registration) (bool, error) {
	r.mu.Lock()
	at, known := r.stands[n.Path]
	r.mu.Unlock()
	if !known {
		return false, nil
	}
	_, stat, err := r.session.Get(ctx, n.Path)
	if errors.Is(err, ErrNoNode) {
		return false, nil
	}
	return err == nil && (n.Kind == Persistent && stat.Owner == 0 || n.Kind == Ephemeral && stat.Owner == at.session), err
}

// remove removes a node of ours.
func (r *Registrar) remove(ctx context.Context, n Registration) error {
	err := r.session.Delete(ctx, n.Path, AnyVersion)
	if errors.Is(err, ErrNotEmpty) { // the children are others'; the node says that it is empty
		_, err = r.session.Set(ctx, n.Path, nil, AnyVersion)
	}
	if err != nil && !errors.Is(err, ErrNoNode) {
		return err
	}
	r.forget(n)
	return nil
}

// forget notes that a node of ours is not there any more.
func (r *Registrar) forget(n Registration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.stands, n.Path)
	if _, again := r.wanted[n.Path]; !again {
		delete(r.gone, n.Path)
	}
}
