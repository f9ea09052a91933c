package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/metaq/metaq/store"
)

// kind says how a type of value is read and printed. What print gives, parse takes.
type kind[T any] struct {
	parse func(string) (T, error)
	print func(T) string
}

type (
	policy   = store.Policy
	schedule = store.Schedule
)

func textKind() kind[string] {
	return kind[string]{
		parse: func(s string) (string, error) {
			if strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) }) {
				return "", fmt.Errorf("%q has a character that cannot be read: the file must be UTF-8 or GBK", s)
			}
			return s, nil
		},
		print: func(s string) string { return s },
	}
}

func boolKind() kind[bool] {
	return kind[bool]{
		parse: func(s string) (bool, error) {
			if v := strings.ToLower(s); v != "true" && v != "false" {
				return false, fmt.Errorf("%q is neither true nor false", s)
			}
			return strings.EqualFold(s, "true"), nil
		},
		print: strconv.FormatBool,
	}
}

func intKind(low, high int) kind[int] {
	return kind[int]{
		parse: func(s string) (int, error) {
			n, err := parseNumber(s)
			if err != nil || n < int64(low) || n > int64(high) {
				return 0, fmt.Errorf("%q is not a number from %d to %d", s, low, high)
			}
			return int(n), nil
		},
		print: strconv.Itoa,
	}
}

// sizeKind is a number of bytes: a number, or one with K, M or G behind it for powers of 1024.
func sizeKind[N int | int64](low, high N) kind[N] {
	return kind[N]{
		parse: func(s string) (N, error) {
			n, err := parseSize(s)
			if err != nil || n < int64(low) || n > int64(high) {
				return 0, fmt.Errorf("%q is not a size from %d to %d bytes (K, M, G are powers of 1024)", s, low, high)
			}
			return N(n), nil
		},
		print: func(n N) string { return strconv.FormatInt(int64(n), 10) },
	}
}

func parseSize(s string) (int64, error) {
	shift := 0
	if s != "" {
		shift = map[byte]int{'K': 10, 'M': 20, 'G': 30}[s[len(s)-1]&^0x20] // either case
	}
	if shift == 0 {
		return parseNumber(s)
	}
	n, err := strconv.ParseInt(s[:len(s)-1], 10, 64)
	if err == nil && (n < 0 || n > math.MaxInt64>>shift) {
		err = strconv.ErrRange
	}
	return n << shift, err
}

func durationKind() kind[time.Duration] {
	return kind[time.Duration]{
		parse: func(s string) (time.Duration, error) {
			d, err := time.ParseDuration(s)
			if err != nil || d < 0 {
				return 0, fmt.Errorf("%q is no duration; write 30s, 5m or 0s", s)
			}
			return d, nil
		},
		print: time.Duration.String,
	}
}

// keepPolicy is how a policy is written that lets everything stay. In the original an empty value is an absent one, so it cannot say that.
const keepPolicy = "keep"

func policyKind() kind[policy] {
	return kind[policy]{
		parse: func(s string) (policy, error) {
			if strings.EqualFold(s, keepPolicy) {
				return policy{}, nil
			}
			p, err := store.ParsePolicy(s)
			return p, withoutKey(s, err)
		},
		print: func(p policy) string {
			if p == (policy{}) {
				return keepPolicy
			}
			return p.String()
		},
	}
}

func scheduleKind() kind[schedule] {
	return kind[schedule]{
		parse: func(s string) (schedule, error) {
			v, err := store.ParseSchedule(s)
			return v, withoutKey(s, err)
		},
		print: schedule.String,
	}
}

// withoutKey takes the key off an error of package store, since assign puts it there for every kind.
func withoutKey(text string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", text, errors.Unwrap(err))
}
