package sql_test

import (
	"database/sql"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/metaq/metaq/client/offsetsql"
)

// database is one that the tests run on.
type database struct {
	dialect offsetsql.Dialect
	open    func() (*sql.DB, error)
	// away makes it unreachable until back is called; what was committed stays.
	away func(t *testing.T) (back func())
}

var databases = []struct {
	name  string
	start func(t *testing.T) database
}{
	{"MySQL", startMariaDB}, {"PostgreSQL", startPostgreSQL}, {"SQLite", openSQLite},
}

func (s *server) database(d offsetsql.Dialect) database {
	return database{
		dialect: d,
		open:    func() (*sql.DB, error) { return s.open(s) },
		away: func(t *testing.T) func() {
			s.end(t)
			return func() { s.restart(t) }
		},
	}
}

// startMariaDB does without the tables of users: whoever comes may do everything.
func startMariaDB(t *testing.T) database {
	s := &server{
		stop: syscall.SIGKILL,
		command: func(s *server) *exec.Cmd {
			return as(t, "mysql", s.dir, exec.Command(program(t, "/usr/sbin/mariadbd"), "--no-defaults", "--datadir="+s.dir, "--skip-grant-tables", "--skip-name-resolve",
				"--bind-address="+s.host, "--port="+s.port, "--socket="+filepath.Join(s.dir, "socket"), "--pid-file="+filepath.Join(s.dir, "pid"),
				"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=2"))
		},
		open: func(s *server) (*sql.DB, error) { return sql.Open("mysql", "root@tcp("+s.host+":"+s.port+")/") },
	}
	s.start(t, nil)
	db, err := s.open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("create database metaq"); err != nil {
		t.Fatal(err)
	}
	s.open = func(s *server) (*sql.DB, error) { return sql.Open("mysql", "root@tcp("+s.host+":"+s.port+")/metaq") }
	return s.database(offsetsql.MySQL)
}

func startPostgreSQL(t *testing.T) database {
	const bin = "/usr/lib/postgresql/*/bin/"
	// -F and -N: no flushes, because the machine stays on while its processes are killed.
	s := &server{
		stop: syscall.SIGQUIT, // its processes end with it
		command: func(s *server) *exec.Cmd {
			return as(t, "postgres", s.dir, exec.Command(program(t, bin+"postgres"), "-D", filepath.Join(s.dir, "data"), "-h", s.host, "-p", s.port, "-F",
				"-c", "unix_socket_directories=", "-c", "shared_buffers=16MB"))
		},
		open: func(s *server) (*sql.DB, error) {
			return sql.Open("pgx", "postgres://metaq@"+s.host+":"+s.port+"/postgres?sslmode=disable")
		},
	}
	s.start(t, func(s *server) *exec.Cmd {
		return as(t, "postgres", s.dir, exec.Command(program(t, bin+"initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "metaq", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"))
	})
	return s.database(offsetsql.PostgreSQL)
}

func openSQLite(t *testing.T) database {
	path := filepath.Join(t.TempDir(), "offsets.db")
	d := database{dialect: offsetsql.SQLite, open: func() (*sql.DB, error) { return sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)") }}
	rename := func(t *testing.T, from, to string) {
		db, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("alter table " + from + " rename to " + to); err != nil {
			t.Fatal(err)
		}
	}
	// A file is never away; its table can be.
	d.away = func(t *testing.T) func() {
		rename(t, offsetsql.DefaultTable, "elsewhere")
		return func() { rename(t, "elsewhere", offsetsql.DefaultTable) }
	}
	return d
}
