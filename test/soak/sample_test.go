package soak

import (
	"math"
	"testing"
)

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"flat", []float64{5, 5, 5, 5, 5}, 0},
		{"flat with a peak", []float64{5, 5, 90, 5, 5, 5}, 0},
		{"a leak of two a sample", []float64{1, 3, 5, 7, 9}, 8},
		{"a leak under a sawtooth", []float64{10, 30, 12, 32, 14, 34, 16, 36, 18, 38}, 9},
		{"nothing", nil, 0},
	} {
		if got := growth(c.values); math.Abs(got-c.want) > 0.51 {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}
