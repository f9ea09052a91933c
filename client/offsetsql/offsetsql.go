package offsetsql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/metaq/metaq/client"
	"github.com/metaq/metaq/zkcoord"
)

const (
	// DefaultTable is the table of the original.
	DefaultTable = "meta_topic_partition_group_offset"

	batch      = 256 // offsets of one transaction, so that rows are not locked for long
	tries      = 5   // of a transaction
	firstPause = 10 * time.Millisecond
)

// tableName leaves room for the name of the index in the 63 bytes that PostgreSQL has for a name.
var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,58}$`)

// Store is a client.OffsetStore in a table. The database is the caller's to close, after the consumers.
type Store struct {
	db         *sql.DB
	statements statements
}

type options struct{ table string }

// An Option changes a Store.
type Option func(*options)

// WithTable names the table: letters, digits and underscores, in the schema that the connection has. Default: DefaultTable.
func WithTable(name string) Option { return func(o *options) { o.table = name } }

// New makes a store; it does not use the database yet. A database in SQLite should be opened with a busy time-out when several processes write it.
func New(db *sql.DB, d Dialect, opts ...Option) (*Store, error) {
	o := options{table: DefaultTable}
	for _, opt := range opts {
		opt(&o)
	}
	if !tableName.MatchString(o.table) {
		return nil, fmt.Errorf("offsetsql: %.100q is no name of a table: at most 59 letters, digits and underscores", o.table)
	}
	s, err := newStatements(d, o.table)
	if err != nil {
		return nil, err
	}
	return &Store{db, s}, nil
}

// CreateTable makes the table if it is not there.
func (s *Store) CreateTable(ctx context.Context) error {
	err := again(ctx, func() error {
		for _, text := range s.statements.create {
			if _, err := s.db.ExecContext(ctx, text); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("create the table of offsets: %w", err)
	}
	return nil
}

// Load reads one row.
func (s *Store) Load(ctx context.Context, key client.OffsetKey) (zkcoord.Offset, bool, error) {
	var o zkcoord.Offset
	err := again(ctx, func() error {
		err := s.db.QueryRowContext(ctx, s.statements.load, key.Topic, key.Partition.String(), key.Group).Scan(&o.Offset, &o.MessageID)
		if errors.Is(err, sql.ErrNoRows) {
			return backoff.Permanent(err)
		}
		return err
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return zkcoord.Offset{}, false, nil
	case err != nil:
		return zkcoord.Offset{}, false, fmt.Errorf("load the offset of %s %s: %w", key.Topic, key.Partition, err)
	case o.Offset < 0:
		return zkcoord.Offset{}, false, fmt.Errorf("load the offset of %s %s: the table has %d, which is none", key.Topic, key.Partition, o.Offset)
	}
	return o, true, nil
}

// Save changes the rows of the offsets, and adds those that are missing, in transactions of up to 256 rows.
func (s *Store) Save(ctx context.Context, offsets map[client.OffsetKey]zkcoord.Offset) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	// One order for all who save, so that they wait for each other instead of forming a circle.
	keys := slices.SortedFunc(maps.Keys(offsets), client.CompareOffsetKeys)
	for keys := range slices.Chunk(keys, batch) {
		if err := again(ctx, func() error { return s.transact(ctx, keys, offsets) }); err != nil {
			return fmt.Errorf("save offsets: %w", err)
		}
	}
	return nil
}

// again does something that may be done twice until it works, a few times: databases end transactions that are in each other's way, connections of the pool may be
// of a server that was restarted meanwhile, and each driver has its own errors for that.
func again(ctx context.Context, do func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = firstPause
	_, err := backoff.Retry(ctx, func() (struct{}, error) { return struct{}{}, do() }, backoff.WithBackOff(pause), backoff.WithMaxTries(tries))
	return err
}

func (s *Store) transact(ctx context.Context, keys []client.OffsetKey, offsets map[client.OffsetKey]zkcoord.Offset) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // does nothing after Commit; otherwise the error before it is the one to tell
	update, err := tx.PrepareContext(ctx, s.statements.update)
	if err != nil {
		return err
	}
	defer update.Close()
	for _, key := range keys {
		offset, partition := offsets[key], key.Partition.String()
		result, err := update.ExecContext(ctx, offset.Offset, offset.MessageID, key.Topic, partition, key.Group)
		if err != nil {
			return err
		}
		changed, err := result.RowsAffected()
		if err != nil {
			return err
		}
		if changed > 0 {
			continue
		}
		// No row, or MySQL does not count one that has these values already.
		var rows int
		if err := tx.QueryRowContext(ctx, s.statements.count, key.Topic, partition, key.Group).Scan(&rows); err != nil {
			return err
		}
		if rows > 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, s.statements.insert, offset.Offset, offset.MessageID, key.Topic, partition, key.Group); err != nil {
			return err
		}
	}
	return tx.Commit()
}
