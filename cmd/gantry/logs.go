package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gantry/cmd/gantry/logs"

	"github.com/spf13/cobra"
)

type logsOptions struct {
	follow, timestamps   bool
	noLogPrefix, noColor bool
	tail                 string
	since, until         string
	index                int
}

func newLogsCommand(c *cli) *cobra.Command {
	var o logsOptions
	cmd := &cobra.Command{
		Use: "logs [OPTIONS] [SERVICE...]", Short: "View output from containers", ValidArgsFunction: c.serviceNames,
		RunE: c.endless(func(ctx context.Context, services []string) error { return runLogs(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.BoolVarP(&o.follow, "follow", "f", false, "Follow log output")
	f.IntVar(&o.index, "index", 0, "index of the container if service has multiple replicas")
	f.StringVar(&o.since, "since", "", "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	f.StringVar(&o.until, "until", "", "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m for 42 minutes)")
	f.BoolVar(&o.noColor, "no-color", false, "Produce monochrome output")
	f.BoolVar(&o.noLogPrefix, "no-log-prefix", false, "Don't print prefix in logs")
	f.BoolVarP(&o.timestamps, "timestamps", "t", false, "Show timestamps")
	f.StringVarP(&o.tail, "tail", "n", "all", "Number of lines to show from the end of the logs for each container")
	return cmd
}

func (o logsOptions) query(now time.Time) (logs.Query, error) {
	q := logs.Query{Follow: o.follow, Tail: o.tail}
	if n, err := strconv.Atoi(o.tail); o.tail != "all" && (err != nil || n < -1) {
		return q, usagef("invalid --tail %q: use all or a number of lines", o.tail)
	} else if n == -1 {
		q.Tail = "all"
	}
	var err error
	if q.Since, err = parseInstant(o.since, now); err != nil {
		return q, usagef("invalid --since %q: %v", o.since, err)
	}
	if q.Until, err = parseInstant(o.until, now); err != nil {
		return q, usagef("invalid --until %q: %v", o.until, err)
	}
	return q, nil
}

func runLogs(ctx context.Context, c *cli, o logsOptions, services []string) error {
	q, err := o.query(time.Now())
	if err != nil {
		return err
	}
	if o.index > 0 && len(services) != 1 {
		return usagef("--index requires one service to be selected")
	}
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	if len(services) > 0 {
		existing, err := containers(ctx, api, t.name, selection{all: true})
		if err != nil {
			return err
		}
		if err := t.check(services, servicesOf(existing)); err != nil {
			return err
		}
	}
	backend := &projectLogs{api: api, name: t.name, services: services, index: o.index}
	p := logs.NewPrinter(c.out, c.err, logs.Style{NoPrefix: o.noLogPrefix, Color: !o.noColor && c.color(c.out), Timestamps: o.timestamps})
	if !o.follow {
		return logs.Show(ctx, backend, p, q)
	}
	return logs.Follow(ctx, backend, p, logs.Options{Query: q})
}

// instants are the layouts that --since and --until take besides durations and
// seconds since 1970. Source: docker logs.
var instants = []string{
	time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02T15Z07:00", "2006-01-02T15", "2006-01-02Z07:00", "2006-01-02",
}

// parseInstant reads a moment: a duration before now, a timestamp, or seconds
// since 1970. "" is the zero time.
func parseInstant(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		whole := int64(seconds)
		return time.Unix(whole, int64((seconds-float64(whole))*1e9)), nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range instants {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("neither a duration such as 42m nor a timestamp such as 2013-01-02T13:23:37Z")
}
