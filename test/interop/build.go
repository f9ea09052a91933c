package interop

import (
	"testing"

	"github.com/metaq/metaq/test/maven"
)

// classPath fetches the client and compiles the agent, unless an earlier run has.
func classPath(t testing.TB) string {
	t.Helper()
	return maven.ClassPath(t, "java", "metaq-interop", "dependency:copy-dependencies")
}
