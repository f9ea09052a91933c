package mutants

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/metaq/metaq/test/chaos"
	"github.com/metaq/metaq/test/process"
)

// mutants are the planted mistakes, each with the tests that have to find it: of the package, by name.
var mutants = []struct{ name, pkg, tests string }{
	{"accept_a_wrong_crc", "store", "TestDamage_WithoutACheckpoint"},
	{"ack_before_flush", "store", "TestCrash"},
	{"answer_a_failed_put", "server", "TestDisk_FailingFlushAnswersAndGoesRed"},
	{"answer_before_flush", "server", "TestDisk_FailingFlushAnswersAndGoesRed"},
	{"append_twice", "server", "TestTurn_ManyAnswersGiveWay"},
	{"commit_before_flush", "store", "TestCrash"},
	{"cut_at_any_bad_frame", "store", "TestDamage_BehindTheCheckpointWhereItWasFlushed"},
	{"forget_the_last_id", "store", "TestClock_JumpsOfAnHour"},
	{"ignore_sync_error", "server", "TestDisk_FailingFlushAnswersAndGoesRed"},
	{"ignore_write_error", "store", "TestAppend_FailsCleanlyWhenTheNthCallFails"},
	{"keep_offsets_of_a_refused_batch", "store", "TestAppend_ATooLargeBatchLeavesNoHole"},
	{"new_queue_before_flush", "store", "TestCrash"},
	{"no_gap_after_a_power_cut", "store", "TestCrash"},
	{"read_before_flush", "store", "TestGroupCommit_NothingIsReadableBeforeItsFlush"},
	{"remove_before_flush", "store", "TestCrash"},
	{"rename_before_sync", "store", "TestCrash"},
	{"retention_beyond_the_minimum", "store", "TestRetention_KeepsTheSegmentThatAPublishedRunLiesIn"},
	{"seal_before_flush", "store", "TestCrash"},
	{"skip_dirsync", "store", "TestCrash"},
	{"skip_segment_sync", "store", "TestCrash"},
}

const root = "../.."

// tries is how often a test may miss a mistake. Some draw what they do, and the short form of TestCrash, 600 programs, misses remove_before_flush now
// and then; the long form has 100,000.
const tries = 5

// TestMutants is test 38: each planted mistake fails the tests that are there to find it, and without one they pass.
func TestMutants(t *testing.T) {
	if planted := chaos.Planted(t, "Mutant"); len(planted) != len(mutants) {
		t.Errorf("the code holds the mutants %v; the table has %d", planted, len(mutants))
	}
	binaries, all := map[string]string{}, map[string][]string{}
	for _, m := range mutants {
		if binaries[m.pkg] == "" {
			binaries[m.pkg] = build(t, m.pkg)
		}
		if !slices.Contains(all[m.pkg], m.tests) {
			all[m.pkg] = append(all[m.pkg], m.tests)
		}
	}
	for pkg, tests := range all {
		if failed, output := run(t, binaries[pkg], pkg, "", tests...); failed {
			t.Fatalf("%s fails without a mutant:\n%s", pkg, output)
		}
	}
	convicted := 0
	for _, m := range mutants {
		failed, output := false, ""
		for i := 0; i < tries && !failed; i++ {
			failed, output = run(t, binaries[m.pkg], m.pkg, m.name, m.tests)
		}
		switch {
		case !failed:
			t.Errorf("%s: %s passes, and would not find this mistake", m.name, m.tests)
		case !strings.Contains(output, "--- FAIL: "+m.tests):
			t.Errorf("%s: %s did not fail but ended otherwise:\n%s", m.name, m.tests, output)
		default:
			convicted++
		}
	}
	chaos.Figure(t, 38, "mutants convicted", "%d of %d", convicted, len(mutants))
}

// build makes the test binary of a package with the mutants in it.
func build(t *testing.T, pkg string) string {
	t.Helper()
	process.DependOnSource(t)
	name := filepath.Join(t.TempDir(), pkg+".test")
	cmd := exec.Command("go", "test", "-c", "-tags", "mutants", "-o", name, "./"+pkg)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tests of %s: %v\n%s", pkg, err, out)
	}
	return name
}

// run runs some tests of a package with one mistake made, or none.
func run(t *testing.T, binary, pkg, mutant string, tests ...string) (failed bool, output string) {
	t.Helper()
	cmd := exec.Command(binary, "-test.failfast", "-test.timeout=2m", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Dir = filepath.Join(root, pkg)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "METAQ_") }), "BROKER_MUTANT="+mutant)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return err != nil, out.String()
}
