package store

import (
	"strings"
	"testing"
	"time"
)

func TestParseSchedule_MeansWhatQuartzMeans(t *testing.T) {
	const layout = "Mon 2006-01-02 15:04:05"
	after := time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC) // a Saturday
	tests := []struct{ in, want string }{
		{"0 0 6,18 * * ?", "Sat 2026-11-21 18:00:00"},
		{"0 0 6 ? * 1", "Sun 2026-11-22 06:00:00"},
		{"0 0 6 ? * 7", "Sat 2026-11-28 06:00:00"},
		{"0 0 6 ? * 2-6", "Mon 2026-11-23 06:00:00"},
		{"0 0 6 ? * MON-FRI", "Mon 2026-11-23 06:00:00"},
		{"0 0 6 ? * wed", "Wed 2026-11-25 06:00:00"},
		{"0 0 6 ? * 3/2", "Tue 2026-11-24 06:00:00"},
		{"0 0 6 ? * TUE,THU", "Tue 2026-11-24 06:00:00"},
		{"0 0 6 ? * WED-SUN", "Sun 2026-11-22 06:00:00"},
		{"0 0 6 * * 3", "Tue 2026-11-24 06:00:00"},
		{"0 0 6 1 JAN ?", "Fri 2027-01-01 06:00:00"},
		{"0 0 22-2 * * ?", "Sat 2026-11-21 22:00:00"},
		{"0 /20 * * * ?", "Sat 2026-11-21 12:20:00"},
		{"*/7 * * * * ?", "Sat 2026-11-21 12:00:07"},
		{"0 0 0 29 2 ?", "Tue 2028-02-29 00:00:00"},
		{"  0  0  6  *  *  *  ", "Sun 2026-11-22 06:00:00"},
	}
	for _, tt := range tests {
		s, err := ParseSchedule(tt.in)
		if err != nil {
			t.Errorf("ParseSchedule(%q): %v", tt.in, err)
			continue
		}
		if got := s.Next(after).Format(layout); got != tt.want {
			t.Errorf("%q is due %s, want %s", tt.in, got, tt.want)
		}
		if s.String() != strings.TrimSpace(tt.in) {
			t.Errorf("%q reads back as %q", tt.in, s)
		}
	}
}

func TestParseSchedule_GoesByTheLocationOfItsCaller(t *testing.T) {
	s, err := ParseSchedule("0 0 6 * * ?")
	if err != nil {
		t.Fatal(err)
	}
	east := time.FixedZone("east", 8*3600)
	after := time.Date(2026, time.November, 21, 5, 0, 0, 0, east)
	if got, want := s.Next(after), after.Add(time.Hour); !got.Equal(want) {
		t.Fatalf("due %v, want %v", got, want)
	}
}

func TestParseSchedule_RefusesTheRestAndNamesTheKey(t *testing.T) {
	tests := []struct{ in, reason string }{
		{"0 0 6 L * ?", "L, W and #"},
		{"0 0 6 15W * ?", "L, W and #"},
		{"0 0 6 LW * ?", "L, W and #"},
		{"0 0 6 ? * 6L", "L, W and #"},
		{"0 0 6 ? * 6#3", "L, W and #"},
		{"0 0 6 * * ? 2027", "year"},
		{"0 6 * * *", "5 fields"},
		{"@daily", "1 fields"},
		{"TZ=UTC 0 6 * * ?", "second"},
		{"0 0 6 ? * 0", "1 to 7"},
		{"0 0 6 ? * 8", "1 to 7"},
		{"60 0 6 * * ?", "0 to 59"},
		{"0 0 24 * * ?", "0 to 23"},
		{"0 0 6 ? * ?", "both ?"},
		{"0 0 6 1 * 2", "both given"},
		{"0 0 6 */2 * 2", "both given"},
		{"? 0 6 * * ?", "only for"},
		{"0 0 6 31 2 ?", "never"},
		{"0 0 6 ? * UNM", "not a value"},
		{"0 */0 6 * * ?", "step"},
		{"0 -5 6 * * ?", "not a value"},
		{"0 5- 6 * * ?", "not a value"},
		{"0 5, 6 * * ?", "not a value"},
		{"0 0 22-2/2 * * ?", "step"},
	}
	for _, tt := range tests {
		s, err := ParseSchedule(tt.in)
		if err == nil {
			t.Errorf("ParseSchedule(%q) = %v, want an error", tt.in, s)
			continue
		}
		if msg := err.Error(); !strings.HasPrefix(msg, "deleteWhen ") || !strings.Contains(msg, tt.reason) {
			t.Errorf("ParseSchedule(%q): %q does not name the key and %q", tt.in, msg, tt.reason)
		}
	}
}

func TestSchedule_ZeroIsNever(t *testing.T) {
	s, err := ParseSchedule(" ")
	if err != nil {
		t.Fatal(err)
	}
	if due := s.Next(quartzEpoch); !due.IsZero() {
		t.Fatalf("due %v, want never", due)
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, seed := range []string{
		"0 0 6,18 * * ?", "0 0 6 ? * MON-FRI", "0 0/5 22-2 ? JAN-MAR 7-1", "TZ= 0 0 0 0 0", "0 0 0 L * 6#3",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		s, err := ParseSchedule(in)
		if err != nil || s.cron == nil {
			return
		}
		if due := s.Next(quartzEpoch); !due.After(quartzEpoch) {
			t.Fatalf("%q is due %v, want a time after %v", in, due, quartzEpoch)
		}
		again, err := ParseSchedule(s.String())
		if err != nil || !again.Next(quartzEpoch).Equal(s.Next(quartzEpoch)) {
			t.Fatalf("%q does not read back: %v", in, err)
		}
	})
}
