package project

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
)

// Loads that run at once get their own warnings, nothing of compose-go's is
// printed, and what others log meanwhile is.
func TestWarningsAreReturnedNotPrinted(t *testing.T) {
	var printed bytes.Buffer
	logger := logrus.StandardLogger()
	out := logger.Out
	logger.SetOutput(&printed)
	t.Cleanup(func() { logger.SetOutput(out) })

	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			_, warnings, err := Load(context.Background(), Options{
				Files: []string{"-"}, ProjectDirectory: t.TempDir(), Environment: []string{},
				Stdin: strings.NewReader(fmt.Sprintf("services: {web: {image: x, command: $UNSET%d}}", i)),
			})
			if err != nil {
				t.Error(err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].Text, fmt.Sprintf("UNSET%d", i)) {
				t.Errorf("load %d got %v", i, warnings)
			}
		})
		logger.WithContext(context.Background()).Warnf("of somebody else %d", i)
	}
	wg.Wait()
	if strings.Contains(printed.String(), "UNSET") {
		t.Errorf("printed:\n%s", &printed)
	}
	if n := strings.Count(printed.String(), "of somebody else"); n != 8 {
		t.Errorf("%d of 8 entries of others were printed:\n%s", n, &printed)
	}
	if _, ok := logger.Formatter.(*captured); ok {
		t.Error("the logger was not put back")
	}
}
