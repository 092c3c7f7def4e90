package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"gantry/project"

	"github.com/moby/moby/api/types/events"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type eventsOptions struct {
	json         bool
	since, until string
}

func newEventsCommand(c *cli) *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use: "events [OPTIONS] [SERVICE...]", Short: "Receive real time events from containers", ValidArgsFunction: c.serviceNames,
		RunE: c.endless(func(ctx context.Context, services []string) error { return runEvents(ctx, c, o, services) }),
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "Output events as a stream of json objects")
	f.StringVar(&o.since, "since", "", "Show all events created since timestamp")
	f.StringVar(&o.until, "until", "", "Stream events until this timestamp")
	return cmd
}

func runEvents(ctx context.Context, c *cli, o eventsOptions, services []string) error {
	now := time.Now()
	since, err := parseInstant(o.since, now)
	if err != nil {
		return usagef("invalid --since %q: %v", o.since, err)
	}
	until, err := parseInstant(o.until, now)
	if err != nil {
		return usagef("invalid --until %q: %v", o.until, err)
	}
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	filters := make(engine.Filters).Add("type", string(events.ContainerEventType)).Add("label", project.LabelProject+"="+t.name)
	stream := api.Events(ctx, engine.EventsListOptions{Since: instant(since), Until: instant(until), Filters: filters})
	for {
		select {
		case m := <-stream.Messages:
			if len(services) > 0 && !slices.Contains(services, m.Actor.Attributes[project.LabelService]) {
				continue
			}
			if err := o.print(c.out, m); err != nil {
				return err
			}
		case err := <-stream.Err:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// print writes an event as Docker Compose does; its own labels are left out.
func (o eventsOptions) print(w io.Writer, m events.Message) error {
	attributes := map[string]string{}
	for k, v := range m.Actor.Attributes {
		if !strings.HasPrefix(k, "com.docker.compose.") {
			attributes[k] = v
		}
	}
	at := time.Unix(0, m.TimeNano)
	if o.json {
		return json.NewEncoder(w).Encode(map[string]any{
			"time": at, "type": m.Type, "service": m.Actor.Attributes[project.LabelService],
			"id": m.Actor.ID, "action": m.Action, "attributes": attributes,
		})
	}
	list := make([]string, 0, len(attributes))
	for k, v := range attributes {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	_, err := fmt.Fprintf(w, "%s %s %s %s (%s)\n", at.Format("2006-01-02 15:04:05.000000"), m.Type, m.Action, m.Actor.ID, strings.Join(list, ", "))
	return err
}
