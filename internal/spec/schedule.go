package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cronField is one of the five fields of a cron line.
type cronField struct {
	name     string
	min, max int
	words    []string // names of the values from min on
}

var cronFields = []cronField{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var cronNames = []string{"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"}

// schedule checks the five cron fields or a name for them.
func schedule(_ *key, s string, p *parser) (Code, string, string) {
	if strings.HasPrefix(s, "@") {
		if slices.Contains(cronNames, s) {
			return "", "", ""
		}
		return codeSchedule, p.show(s) + " is not a known schedule", "use " + orList(cronNames) + `, or five cron fields: "0 2 * * *"`
	}
	parts := strings.Fields(s)
	if len(parts) != len(cronFields) {
		return codeSchedule, fmt.Sprintf("has %d fields; cron has five: minute hour day month weekday", len(parts)), `write "0 2 * * *" for every day at 02:00; seconds are not a field`
	}
	days, months := []int(nil), []int(nil)
	for i, f := range cronFields {
		set, why := f.parse(parts[i])
		if why != "" {
			return codeSchedule, fmt.Sprintf("the %s field %s", f.name, why), fmt.Sprintf("the %s is %d to %d, *, a range a-b, a list a,b or a step */n", f.name, f.min, f.max)
		}
		switch i {
		case 2:
			days = set
		case 3:
			months = set
		}
	}
	if parts[4] == "*" && !everComes(days, months) {
		return codeSchedule, "never comes: no such day exists in those months", "choose a day that the month has"
	}
	return "", "", ""
}

// everComes reports whether some month has one of the days; February counts 29.
func everComes(days, months []int) bool {
	length := [...]int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	first := slices.Min(days)
	return slices.ContainsFunc(months, func(m int) bool { return first <= length[m-1] })
}

// parse returns the values that a field stands for, or why it stands for none.
func (f cronField) parse(s string) (set []int, why string) {
	for part := range strings.SplitSeq(s, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(stepText)
			if err != nil || n < 1 || n > f.max {
				return nil, "has a step that is not 1 to " + strconv.Itoa(f.max)
			}
			step = n
		}
		lo, hi := f.min, f.max
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			var ok bool
			if lo, ok = f.number(from); !ok {
				return nil, fmt.Sprintf("has %s, which is not %d to %d", short(from), f.min, f.max)
			}
			hi = lo
			if ranged {
				if hi, ok = f.number(to); !ok {
					return nil, fmt.Sprintf("has %s, which is not %d to %d", short(to), f.min, f.max)
				}
			} else if stepped {
				hi = f.max
			}
			if hi < lo {
				return nil, fmt.Sprintf("has the range %d-%d, which runs backwards", lo, hi)
			}
		}
		for v := lo; v <= hi; v += step {
			set = append(set, v)
		}
	}
	return set, ""
}

func (f cronField) number(s string) (int, bool) {
	if i := slices.Index(f.words, strings.ToLower(s)); i >= 0 {
		return i + f.min, true
	}
	if s == "" || len(s) > 2 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= f.min && n <= f.max
}
