package terminal

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// colours are sequences that change no more than how text looks.
var colours = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// lineEnds are all that others know.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// Text is text of somebody else as a terminal shows it without obeying it:
// control characters and what is no UTF-8 become what Go writes for them
// ("\x1b"). Line ends and tabs stay, colours go.
func Text(s string) string {
	return visible(lineEnds.Replace(colours.ReplaceAllString(s, "")), "\n\t")
}

// Line is the same for a name, which has one line.
func Line(s string) string { return visible(s, "\t") }

func visible(s, kept string) string {
	obeyed := func(r rune) bool {
		return r == utf8.RuneError || (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) && !strings.ContainsRune(kept, r)
	}
	if !strings.ContainsFunc(s, obeyed) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[0]), 16))
		case r != utf8.RuneError && obeyed(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}
