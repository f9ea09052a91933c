package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when old messages are looked for: the value of deleteWhen. The zero Schedule is never due.
type Schedule struct {
	text string
	cron cron.Schedule // nil: never
}

// ParseSchedule reads a Quartz expression: seconds, minutes, hours, day of month, month, day of week, where days of the
// week are numbered 1 to 7 from Sunday on. Of Quartz's own, L, W, # and the year field are refused. An empty value is
// the zero Schedule.
func ParseSchedule(s string) (Schedule, error) {
	if strings.TrimSpace(s) == "" {
		return Schedule{}, nil
	}
	parsed, err := parseQuartz(strings.Fields(s))
	if err != nil {
		return Schedule{}, fmt.Errorf("deleteWhen %q: %w", s, err)
	}
	return Schedule{text: strings.TrimSpace(s), cron: parsed}, nil
}

// Next returns the first due time after another, in its location; the zero time when there is none.
func (s Schedule) Next(after time.Time) time.Time {
	if s.cron == nil {
		return time.Time{}
	}
	return s.cron.Next(after)
}

// String returns the expression as it was given.
func (s Schedule) String() string { return s.text }

// quartzField is one field of an expression. Everything is checked and put into numbers here, because the cron parser
// takes more than Quartz does (0 as a day of the week, a question mark anywhere) and means other days by the numbers.
type quartzField struct {
	name     string
	min, max int
	names    string // of the values from min on, three letters each
	shift    int    // from Quartz's numbers to the parser's
}

var quartzFields = [...]quartzField{
	{name: "second", max: 59},
	{name: "minute", max: 59},
	{name: "hour", max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"},
	{name: "day of week", min: 1, max: 7, names: "SUNMONTUEWEDTHUFRISAT", shift: -1},
}

const (
	dayOfMonth = 3
	dayOfWeek  = 5
)

// quartzEpoch is where an expression must be due after, within the five years that the cron parser looks ahead; they
// have a 29 February and every weekday on each date.
var quartzEpoch = time.Date(2023, time.January, 1, 0, 0, 0, 0, time.UTC)

func parseQuartz(fields []string) (cron.Schedule, error) {
	switch {
	case len(fields) == len(quartzFields)+1:
		return nil, errors.New("the year field is not supported: give 6 fields")
	case len(fields) != len(quartzFields):
		return nil, fmt.Errorf("%d fields instead of 6: second minute hour day-of-month month day-of-week", len(fields))
	}
	translated := make([]string, len(fields))
	for i, field := range fields {
		var err error
		if translated[i], err = quartzFields[i].translate(field); err != nil {
			return nil, fmt.Errorf("%s %q: %w", quartzFields[i].name, field, err)
		}
		if field == "?" && i != dayOfMonth && i != dayOfWeek {
			return nil, fmt.Errorf("%s: ? is only for day of month and day of week", quartzFields[i].name)
		}
	}
	dom, dow := fields[dayOfMonth], fields[dayOfWeek]
	if dom == "?" && dow == "?" {
		return nil, errors.New("day of month and day of week are both ?")
	}
	// The cron parser would run on either, a reader may expect both: Quartz refuses too.
	if dom != "?" && dom != "*" && dow != "?" && dow != "*" {
		return nil, errors.New("day of month and day of week are both given: one must be ?")
	}
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	schedule, err := parser.Parse(strings.Join(translated, " "))
	if err != nil {
		return nil, err
	}
	if schedule.Next(quartzEpoch).IsZero() {
		return nil, errors.New("this day never comes")
	}
	return schedule, nil
}

// translate puts a list of items into the cron parser's words.
func (f quartzField) translate(field string) (string, error) {
	if field == "?" || field == "*" {
		return "*", nil
	}
	var out []string
	for item := range strings.SplitSeq(field, ",") {
		words, err := f.item(item)
		if err != nil {
			return "", err
		}
		out = append(out, words)
	}
	return strings.Join(out, ","), nil
}

// item translates one of value, from-to, *, and each of them with /step.
func (f quartzField) item(item string) (string, error) {
	body, step, stepped := strings.Cut(item, "/")
	suffix := ""
	if stepped {
		n, err := strconv.ParseUint(step, 10, 8)
		if err != nil || n == 0 || int(n) > f.max {
			return "", fmt.Errorf("step %q must be 1 to %d", step, f.max)
		}
		suffix = "/" + strconv.FormatUint(n, 10)
	}
	// In Quartz nothing before the slash is the first value.
	if body == "*" || body == "" && stepped {
		return "*" + suffix, nil
	}
	from, to, ranged := strings.Cut(body, "-")
	first, err := f.value(from)
	if err != nil {
		return "", err
	}
	if !ranged {
		return strconv.Itoa(first) + suffix, nil
	}
	last, err := f.value(to)
	if err != nil {
		return "", err
	}
	if first <= last {
		return fmt.Sprintf("%d-%d%s", first, last, suffix), nil
	}
	if stepped {
		return "", fmt.Errorf("range %q ends before it begins and has a step", body)
	}
	// Quartz lets a range run over the end, as in FRI-MON.
	return fmt.Sprintf("%d-%d,%d-%d", first, f.max+f.shift, f.min+f.shift, last), nil
}

func (f quartzField) value(word string) (int, error) {
	if i := strings.Index(f.names, strings.ToUpper(word)); len(word) == 3 && i >= 0 && i%3 == 0 {
		return i/3 + f.min + f.shift, nil
	}
	n, err := strconv.ParseUint(word, 10, 16)
	if err != nil {
		if strings.ContainsAny(word, "LW#lw") {
			return 0, errors.New("the letters L, W and # are not supported")
		}
		return 0, fmt.Errorf("%q is not a value of this field", word)
	}
	if int(n) < f.min || int(n) > f.max {
		return 0, fmt.Errorf("%d must be %d to %d", n, f.min, f.max)
	}
	return int(n) + f.shift, nil
}
