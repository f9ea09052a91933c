package offsetsql_test

import (
	"strings"
	"testing"

	"github.com/metaq/metaq/client/offsetsql"
)

// Everything that needs a database is in test/sql.
func TestNew_Refuses(t *testing.T) {
	for _, c := range []struct {
		name    string
		dialect offsetsql.Dialect
		table   string
		want    string
	}{
		{"no dialect", 0, offsetsql.DefaultTable, "0 is no dialect"},
		{"unknown dialect", 4, offsetsql.DefaultTable, "4 is no dialect"},
		{"no table", offsetsql.SQLite, "", `"" is no name of a table`},
		{"quotes", offsetsql.SQLite, `a"; drop table b; --`, "is no name of a table"},
		{"schema", offsetsql.PostgreSQL, "public.offsets", "is no name of a table"},
		{"long", offsetsql.MySQL, strings.Repeat("x", 60), "at most 59"},
	} {
		if _, err := offsetsql.New(nil, c.dialect, offsetsql.WithTable(c.table)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
