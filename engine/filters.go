package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
)

// known refuses filters of other names than keys.
func (f Filters) known(keys ...string) error {
	for key := range f {
		if !slices.Contains(keys, key) {
			return fmt.Errorf("invalid filter '%s': %w", key, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// boolean reads a filter that is true or false, nil when it is not given.
func (f Filters) boolean(key string) (*bool, error) {
	values := f[key]
	if len(values) == 0 {
		return nil, nil
	}
	var out bool
	for i, v := range values {
		b := v == "true" || v == "1"
		if !b && v != "false" && v != "0" || i > 0 && b != out {
			return nil, fmt.Errorf("invalid filter '%s=%s': %w", key, values, errdefs.ErrInvalidArgument)
		}
		out = b
	}
	return &out, nil
}

// until reads the filter of that name: a duration before now, a time of RFC
// 3339 in part or whole, or seconds since 1970. The zero time when it is not
// given.
func (f Filters) until(now time.Time) (time.Time, error) {
	switch len(f["until"]) {
	case 0:
		return time.Time{}, nil
	case 1:
	default:
		return time.Time{}, fmt.Errorf("more than one until filter specified: %w", errdefs.ErrInvalidArgument)
	}
	v := f["until"][0]
	if d, err := time.ParseDuration(v); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02Z07:00", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, v, now.Location()); err == nil {
			return t, nil
		}
	}
	seconds, fraction, _ := strings.Cut(v, ".")
	if s, err := strconv.ParseInt(seconds, 10, 64); err == nil {
		n, err := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
		if err == nil {
			return time.Unix(s, n), nil
		}
	}
	return time.Time{}, fmt.Errorf("invalid filter 'until=%s': %w", v, errdefs.ErrInvalidArgument)
}

// matchLabels tells whether labels have all that "label" asks for and nothing
// that "label!" excludes.
func (f Filters) matchLabels(labels map[string]string) bool {
	return matchLabels(labels, f["label"]) && !slices.ContainsFunc(f["label!"], func(v string) bool { return matchLabels(labels, []string{v}) })
}
