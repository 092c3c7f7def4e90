package project

import (
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

// capturing lets one load at a time change the standard logger.
var capturing sync.Mutex

// captured is a log formatter that keeps compose-go's warnings and lets all
// else pass. compose-go logs through the bare standard logger, without context
// and fields; Gantry's own entries carry a context.
type captured struct {
	next logrus.Formatter
	mu   sync.Mutex
	text []string
}

func (c *captured) Format(e *logrus.Entry) ([]byte, error) {
	if e.Context != nil || len(e.Data) > 0 {
		return c.next.Format(e)
	}
	if e.Level <= logrus.WarnLevel {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !slices.Contains(c.text, e.Message) {
			c.text = append(c.text, e.Message)
		}
	}
	return nil, nil
}

// capture runs f and returns what compose-go would have printed meanwhile.
func capture(f func() error) ([]Warning, error) {
	capturing.Lock()
	defer capturing.Unlock()
	logger := logrus.StandardLogger()
	c := &captured{next: logger.Formatter}
	logger.SetFormatter(c)
	defer logger.SetFormatter(c.next)
	err := f()
	slices.Sort(c.text)
	var warnings []Warning
	for _, text := range c.text {
		// the version key has a rule of its own
		if !strings.Contains(text, "attribute `version` is obsolete") {
			warnings = append(warnings, Warning{Text: text})
		}
	}
	return warnings, err
}
