package store

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Policy says what becomes of a topic's old messages: the value of deletePolicy. The zero Policy keeps them for ever.
type Policy struct {
	Archive  bool          // keep a copy beside the log instead of deleting
	Zip      bool          // compress the copy; only with Archive
	MaxAge   time.Duration // 0: no bound
	MaxBytes int64         // of one queue; 0: no bound
}

// ParsePolicy reads "delete" or "archive", then, in any order and separated by commas:
//
//   - an age, as in the original: a number of hours, or a number and one of s m h d;
//   - a size of a queue, which is ours: a number and one of K M G T (powers of 1024). "m" is minutes, "M" is MiB;
//   - for archive, as in the original, "true" to compress what is archived.
//
// At least one of age and size must be there. An empty value keeps everything.
func ParsePolicy(s string) (Policy, error) {
	p, err := parsePolicy(s)
	if err != nil {
		return Policy{}, fmt.Errorf("deletePolicy %q: %w", s, err)
	}
	return p, nil
}

func parsePolicy(s string) (Policy, error) {
	var p Policy
	if strings.TrimSpace(s) == "" {
		return p, nil
	}
	name, values, _ := strings.Cut(s, ",")
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "delete":
	case "archive":
		p.Archive = true
	default:
		return p, fmt.Errorf("must begin with delete or archive")
	}
	zipSeen := false
	for value := range strings.SplitSeq(values, ",") {
		value = strings.TrimSpace(value)
		switch strings.ToLower(value) {
		case "":
			return p, fmt.Errorf("an age such as 168 (hours) or 5m, or a size such as 10G, is missing")
		case "true", "false":
			if !p.Archive {
				return p, fmt.Errorf("%s (compress) is only for archive", value)
			}
			if zipSeen {
				return p, fmt.Errorf("compression is given twice")
			}
			zipSeen = true
			p.Zip = strings.EqualFold(value, "true")
			continue
		}
		if err := p.parseBound(value); err != nil {
			return p, err
		}
	}
	if p.MaxAge == 0 && p.MaxBytes == 0 {
		return p, fmt.Errorf("neither an age nor a size is given")
	}
	return p, nil
}

// parseBound reads one age or size.
func (p *Policy) parseBound(value string) error {
	digits := 0
	for digits < len(value) && value[digits] >= '0' && value[digits] <= '9' {
		digits++
	}
	n, err := strconv.ParseInt(value[:digits], 10, 64)
	if err != nil || n == 0 {
		return fmt.Errorf("%q must begin with a whole number of 1 or more", value)
	}
	unit := value[digits:]
	if age, ok := ageUnit(unit); ok {
		if p.MaxAge != 0 {
			return fmt.Errorf("the age is given twice")
		}
		if n > math.MaxInt64/int64(age) {
			return fmt.Errorf("age %q is too large", value)
		}
		p.MaxAge = time.Duration(n) * age
		return nil
	}
	size, ok := sizeUnit(unit)
	if !ok {
		return fmt.Errorf("unit %q of %q is unknown: ages have s, m, h, d, sizes have K, M, G, T", unit, value)
	}
	if p.MaxBytes != 0 {
		return fmt.Errorf("the size is given twice")
	}
	if n > math.MaxInt64/size {
		return fmt.Errorf("size %q is too large", value)
	}
	p.MaxBytes = n * size
	return nil
}

func ageUnit(unit string) (time.Duration, bool) {
	switch unit {
	case "", "h":
		return time.Hour, true
	case "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

func sizeUnit(unit string) (int64, bool) {
	switch unit {
	case "K", "KB", "k":
		return 1 << 10, true
	case "M", "MB":
		return 1 << 20, true
	case "G", "GB", "g":
		return 1 << 30, true
	case "T", "TB", "t":
		return 1 << 40, true
	}
	return 0, false
}

// String returns the policy as ParsePolicy reads it.
func (p Policy) String() string {
	if p.MaxAge == 0 && p.MaxBytes == 0 {
		return ""
	}
	b := []byte("delete")
	if p.Archive {
		b = []byte("archive")
	}
	if p.MaxAge != 0 {
		b = append(b, ',')
		if p.MaxAge%time.Hour == 0 {
			b = append(strconv.AppendInt(b, int64(p.MaxAge/time.Hour), 10), 'h')
		} else {
			b = append(strconv.AppendInt(b, int64(p.MaxAge/time.Second), 10), 's')
		}
	}
	if p.MaxBytes != 0 {
		n, unit := p.MaxBytes>>10, 0
		for unit < 3 && n%1024 == 0 {
			n, unit = n>>10, unit+1
		}
		b = append(append(b, ','), strconv.FormatInt(n, 10)...)
		b = append(b, "KMGT"[unit])
	}
	if p.Zip {
		b = append(b, ",true"...)
	}
	return string(b)
}
