package build

import (
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestVariablesDoNotGrowWithoutBound(t *testing.T) {
	bomb := func(instruction, word string, n int) string {
		text := "FROM x\n" + instruction + " A0=xxxxxxxxxx\n"
		for i := range n {
			text += fmt.Sprintf("%s A%d=%s\n", instruction, i+1, strings.ReplaceAll(word, "A", fmt.Sprint("A", i)))
		}
		return text + "RUN true\n"
	}
	ten := strings.Repeat("${A}", 10)
	for name, c := range map[string]struct {
		text string
		args map[string]int
		fine bool
	}{
		"ARG":               {text: bomb("ARG", ten, 9)},
		"ENV":               {text: bomb("ENV", `"`+ten+`"`, 9)},
		"without braces":    {text: bomb("ENV", strings.Repeat("$A-", 10), 9)},
		"defaults":          {text: bomb("ARG", strings.Repeat("${B:-$A}", 10), 9)},
		"replacements":      {text: bomb("ENV", "${A//x/$A}", 9)},
		"itself":            {text: "FROM x\nENV A=xxxxxxxxxx\n" + strings.Repeat("ENV A=$A$A$A$A$A$A$A$A$A$A\n", 9)},
		"a label":           {text: bomb("ENV", ten, 5) + "LABEL a=" + strings.Repeat("$A5", 100)},
		"a file":            {text: bomb("ENV", ten, 5) + "COPY <<EOF /x\n" + strings.Repeat("$A5\n", 100) + "EOF\n"},
		"an argument":       {text: "FROM x\nARG A\nENV B=$A$A$A$A$A$A$A$A", args: map[string]int{"A": 10 << 20}},
		"little of it":      {text: bomb("ENV", ten, 4), fine: true},
		"many additions":    {text: "FROM x\n" + strings.Repeat("ENV PATH=/some/where/bin:$PATH\n", 1000), fine: true},
		"a shell's":         {text: bomb("ENV", ten, 5) + "RUN " + strings.Repeat("$A5 ", 100), fine: true},
		"no Dockerfile":     {text: "\x1f\x8b$$$\x00", fine: true},
		"usual replacement": {text: "FROM x\nARG V=1.2.3\nENV N=name-${V//./_}-${V%%.*}\n", fine: true},
	} {
		if err := checkGrowth([]byte(c.text), c.args); (err == nil) != c.fine || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
