// Package jsonlog writes and reads Docker's json-file logs: one JSON object per
// line, {"log":"text\n","stream":"stdout","time":"2006-01-02T15:04:05.999Z"},
// in files that are rotated as name, name.1, name.2 …, name being the newest.
package jsonlog

import (
	"time"
	"unicode/utf8"
)

// Stream names, as they stand in the log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

const hex = "0123456789abcdef"

// plain tells the bytes that stand for themselves inside a JSON string; the
// rest is escaped exactly as Docker's json-file driver does it, which differs
// from encoding/json in writing \u0009 for a tab.
var plain = func() (t [256]bool) {
	for b := 0x20; b < utf8.RuneSelf; b++ {
		switch b {
		case '\\', '"', '<', '>', '&':
		default:
			t[b] = true
		}
	}
	return t
}()

// appendEntry appends one log line. The time must be formatted already; attrs
// is a JSON object, or nothing.
func appendEntry(b []byte, stream string, line, attrs, stamp []byte, newline bool) []byte {
	b = append(b, '{')
	if len(line) > 0 || newline {
		b = append(b, `"log":"`...)
		b = appendText(b, line)
		if newline {
			b = append(b, `\n`...)
		}
		b = append(b, `",`...)
	}
	b = append(b, `"stream":"`...)
	b = append(b, stream...)
	if len(attrs) > 0 {
		b = append(b, `","attrs":`...)
		b = append(b, attrs...)
		b = append(b, `,"time":"`...)
	} else {
		b = append(b, `","time":"`...)
	}
	b = append(b, stamp...)
	return append(b, "\"}\n"...)
}

// appendText escapes text for a JSON string. Bytes that are not UTF-8 become
// U+FFFD, one for each.
func appendText(b, text []byte) []byte {
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, text[start:i]...)
			switch c {
			case '\\', '"':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, `\n`...)
			case '\r':
				b = append(b, `\r`...)
			default:
				b = append(b, `\u00`...)
				b = append(b, hex[c>>4], hex[c&0xf])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b = append(b, text[start:i]...)
			b = append(b, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			b = append(b, text[start:i]...)
			b = append(b, `\u202`...)
			b = append(b, hex[r&0xf])
			start = i + size
		}
		i += size
	}
	return append(b, text[start:]...)
}

// clock formats times as time.RFC3339Nano in UTC. It keeps the part that
// changes once a second.
type clock struct {
	second int64
	prefix []byte // "2006-01-02T15:04:05", empty before the first use
	out    []byte
}

// format returns a slice that is valid until the next call.
func (c *clock) format(t time.Time) []byte {
	if s := t.Unix(); s != c.second || len(c.prefix) == 0 {
		c.second = s
		c.prefix = t.UTC().AppendFormat(c.prefix[:0], "2006-01-02T15:04:05")
	}
	out := append(c.out[:0], c.prefix...)
	if ns := t.Nanosecond(); ns != 0 {
		var digits [10]byte
		digits[0] = '.'
		for i := 9; i > 0; i-- {
			digits[i] = byte('0' + ns%10)
			ns /= 10
		}
		n := 10
		for digits[n-1] == '0' {
			n--
		}
		out = append(out, digits[:n]...)
	}
	c.out = append(out, 'Z')
	return c.out
}
