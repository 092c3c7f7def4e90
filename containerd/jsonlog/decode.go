package jsonlog

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// Entry is one log entry. Line ends with a newline unless the process's line
// was longer than 16 KiB, so that it was cut, or never ended.
type Entry struct {
	Stream string // Stdout or Stderr
	Time   time.Time
	Line   []byte
	Attrs  map[string]string // nil without
}

// arena hands out memory for lines, so that each need not be allocated.
type arena struct{ free []byte }

const arenaSize = 64 << 10

// room returns a slice of length 0 with room for n bytes; commit keeps them.
func (a *arena) room(n int) []byte {
	if n > arenaSize/4 {
		return make([]byte, 0, n)
	}
	if cap(a.free) < n {
		a.free = make([]byte, 0, arenaSize)
	}
	return a.free[:0:n]
}

func (a *arena) commit(n, used int) {
	if n <= arenaSize/4 {
		a.free = a.free[:0:cap(a.free)][used:used]
	}
}

// decode reads one line of the file, without its newline. It reports false
// for what is not an entry: a torn line, or something else's.
func (a *arena) decode(line []byte) (Entry, bool) {
	if e, ok := a.decodeOwn(line); ok {
		return e, true
	}
	var raw struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
		Attrs  map[string]string
	}
	if json.Unmarshal(line, &raw) != nil || raw.Time.IsZero() {
		return Entry{}, false
	}
	e := Entry{Time: raw.Time.UTC(), Line: []byte(raw.Log), Attrs: raw.Attrs}
	switch raw.Stream {
	case Stdout:
		e.Stream = Stdout
	case Stderr:
		e.Stream = Stderr
	default:
		return Entry{}, false
	}
	return e, true
}

var (
	logKey    = []byte(`{"log":"`)
	outToTime = []byte(`,"stream":"stdout","time":"`)
	errToTime = []byte(`,"stream":"stderr","time":"`)
	lineEnd   = []byte(`"}`)
)

// decodeOwn reads what Writer wrote and leaves everything else to encoding/json.
func (a *arena) decodeOwn(line []byte) (e Entry, ok bool) {
	text, ok := bytes.CutPrefix(line, logKey)
	if !ok {
		return e, false
	}
	room := a.room(len(text))
	log, rest, ok := unescape(room, text)
	if !ok {
		return e, false
	}
	stamp, ok := bytes.CutPrefix(rest, outToTime)
	if e.Stream = Stdout; !ok {
		e.Stream = Stderr
		if stamp, ok = bytes.CutPrefix(rest, errToTime); !ok {
			return e, false
		}
	}
	if stamp, ok = bytes.CutSuffix(stamp, lineEnd); !ok {
		return e, false
	}
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil || at.IsZero() {
		return e, false
	}
	a.commit(len(text), len(log))
	e.Time = at.UTC()
	e.Line = log[:len(log):len(log)]
	return e, true
}

// unescape appends the JSON string that text begins with, after its opening
// quote, and returns what follows its closing quote.
func unescape(b, text []byte) (log, rest []byte, ok bool) {
	start := 0
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '"':
			return append(b, text[start:i]...), text[i+1:], true
		case c < 0x20:
			return nil, nil, false
		case c != '\\':
			i++
			continue
		}
		b = append(b, text[start:i]...)
		if i+1 == len(text) {
			return nil, nil, false
		}
		switch text[i+1] {
		case '"', '\\', '/':
			b = append(b, text[i+1])
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			if i+6 > len(text) {
				return nil, nil, false
			}
			r := rune(0)
			for _, h := range text[i+2 : i+6] {
				d := bytes.IndexByte([]byte(hex), h|0x20)
				if d < 0 || h < '0' {
					return nil, nil, false
				}
				r = r<<4 | rune(d)
			}
			if r >= 0xd800 && r < 0xe000 {
				return nil, nil, false // half of a pair
			}
			b = utf8.AppendRune(b, r)
			i += 4
		default:
			return nil, nil, false
		}
		i += 2
		start = i
	}
	return nil, nil, false
}
