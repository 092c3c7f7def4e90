package terminal

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTextIsShownAndNotObeyed(t *testing.T) {
	for in, want := range map[string][2]string{ // a text, a line
		"plain ü 漢 👩‍🚀 \ufffd":    {"plain ü 漢 👩‍🚀 \ufffd", "plain ü 漢 👩‍🚀 \ufffd"},
		"a\nb\tc":                 {"a\nb\tc", `a\nb` + "\tc"},
		"50%\r100%\r\n":           {"50%\n100%\n", `50%\r100%\r\n`},
		"\x1b[1;31mred\x1b[0m":    {"red", `\x1b[1;31mred\x1b[0m`},
		"\x1b]0;title\a":          {`\x1b]0;title\a`, `\x1b]0;title\a`},
		"\x1b[2J\u009b2J":         {`\x1b[2J\u009b2J`, `\x1b[2J\u009b2J`},
		"no \xff utf-8\xc3":       {`no \xff utf-8\xc3`, `no \xff utf-8\xc3`},
		"txt.\u202eexe\u2066\x7f": {`txt.\u202eexe\u2066\x7f`, `txt.\u202eexe\u2066\x7f`},
	} {
		if got := [2]string{Text(in), Line(in)}; got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNothingThatATerminalObeysIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.String().Draw(t, "text")
		for text, kept := range map[string]string{Text(s): "\n\t", Line(s): "\t"} {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune(kept, r) }) {
				t.Fatalf("%q became %q", s, text)
			}
		}
	})
}
