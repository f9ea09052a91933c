package store

import (
	"strings"
	"testing"
	"time"
)

func TestParsePolicy_ReadsTheOriginalsFormsAndSizes(t *testing.T) {
	tests := []struct {
		in   string
		want Policy
	}{
		{"", Policy{}},
		{"delete,168", Policy{MaxAge: 168 * time.Hour}},
		{"delete,10s", Policy{MaxAge: 10 * time.Second}},
		{"delete,5m", Policy{MaxAge: 5 * time.Minute}},
		{"delete,3h", Policy{MaxAge: 3 * time.Hour}},
		{"delete,1d", Policy{MaxAge: 24 * time.Hour}},
		{" Delete , 168 ", Policy{MaxAge: 168 * time.Hour}},
		{"delete,10G", Policy{MaxBytes: 10 << 30}},
		{"delete,168,10G", Policy{MaxAge: 168 * time.Hour, MaxBytes: 10 << 30}},
		{"delete,512M,5m", Policy{MaxAge: 5 * time.Minute, MaxBytes: 512 << 20}},
		{"archive,24h", Policy{Archive: true, MaxAge: 24 * time.Hour}},
		{"archive,24,true", Policy{Archive: true, Zip: true, MaxAge: 24 * time.Hour}},
		{"archive,24,false", Policy{Archive: true, MaxAge: 24 * time.Hour}},
		{"archive,24,1TB,true", Policy{Archive: true, Zip: true, MaxAge: 24 * time.Hour, MaxBytes: 1 << 40}},
	}
	for _, tt := range tests {
		got, err := ParsePolicy(tt.in)
		if err != nil {
			t.Errorf("ParsePolicy(%q): %v", tt.in, err)
			continue
		}
		if got != tt.want {
			t.Errorf("ParsePolicy(%q) = %+v, want %+v", tt.in, got, tt.want)
		}
		again, err := ParsePolicy(got.String())
		if err != nil || again != got {
			t.Errorf("ParsePolicy(%q) = %+v, %v, want %+v again", got.String(), again, err, got)
		}
	}
}

func TestParsePolicy_RefusesTheRestAndNamesTheKey(t *testing.T) {
	for _, in := range []string{
		"keep", "delete", "delete,", "archive,true", "delete,24,true", "delete,0", "delete,-1", "delete,1.5h",
		"delete,24x", "delete,24,48", "delete,1G,2G", "archive,24,true,true", "delete,h", "delete,24,,1G",
		"delete,99999999999999999999", "delete,9223372036854775807", "delete,9223372036854775807T", ",24",
	} {
		got, err := ParsePolicy(in)
		if err == nil {
			t.Errorf("ParsePolicy(%q) = %+v, want an error", in, got)
		} else if !strings.HasPrefix(err.Error(), "deletePolicy ") {
			t.Errorf("ParsePolicy(%q): %q does not name the key", in, err)
		}
	}
}
