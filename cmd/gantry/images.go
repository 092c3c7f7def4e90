package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	engine "github.com/moby/moby/client"
	"github.com/spf13/cobra"
)

type imagesOptions struct {
	quiet  bool
	format string
}

func newImagesCommand(c *cli) *cobra.Command {
	var o imagesOptions
	cmd := &cobra.Command{
		Use: "images [OPTIONS] [SERVICE...]", Short: "List images used by the created containers", ValidArgsFunction: c.serviceNames,
		RunE: c.run(func(ctx context.Context, services []string) error { return runImages(ctx, c, o, services) }),
	}
	cmd.Flags().StringVar(&o.format, "format", "table", "Format the output. Values: [table | json]")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "Only display IDs")
	return cmd
}

// usedImage is the image of one container, with Docker Compose's keys.
type usedImage struct {
	ID            string
	ContainerName string
	Repository    string
	Tag           string
	Platform      string
	Size          int64
	Created       *time.Time `json:",omitempty"`
}

func runImages(ctx context.Context, c *cli, o imagesOptions, services []string) error {
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	list, err := t.containers(ctx, api, services)
	if err != nil {
		return err
	}
	used, err := usedImages(ctx, api, list)
	if err != nil {
		return err
	}
	return o.print(c.out, used, time.Now())
}

func usedImages(ctx context.Context, api *engine.Client, list []container.Summary) ([]usedImage, error) {
	known := map[string]engine.ImageInspectResult{}
	used := make([]usedImage, 0, len(list))
	for _, s := range list {
		found, ok := known[s.ImageID]
		if !ok {
			var err error
			if found, err = api.ImageInspect(ctx, s.ImageID); err != nil && !errdefs.IsNotFound(err) {
				return nil, err
			}
			known[s.ImageID] = found
		}
		u := usedImage{ID: s.ImageID, ContainerName: nameOf(s), Size: found.Size}
		u.Repository, u.Tag = repositoryOf(s.Image)
		if found.Os != "" {
			u.Platform = strings.Trim(found.Os+"/"+found.Architecture+"/"+found.Variant, "/")
		}
		if at, err := time.Parse(time.RFC3339Nano, found.Created); err == nil {
			u.Created = &at
		}
		used = append(used, u)
	}
	slices.SortFunc(used, func(a, b usedImage) int { return strings.Compare(a.ContainerName, b.ContainerName) })
	return used, nil
}

// repositoryOf splits a reference as people write it.
func repositoryOf(ref string) (repository, tag string) {
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return ref, "<none>"
	}
	tag = "<none>"
	if tagged, ok := reference.TagNameOnly(named).(reference.Tagged); ok {
		tag = tagged.Tag()
	}
	return reference.FamiliarName(named), tag
}

// imageRow is a container's image as images shows it.
type imageRow struct {
	formatter.HeaderContext
	u   usedImage
	now time.Time
}

func (r *imageRow) MarshalJSON() ([]byte, error) { return formatter.MarshalJSON(r) }
func (r *imageRow) Container() string            { return r.u.ContainerName }
func (r *imageRow) Repository() string           { return r.u.Repository }
func (r *imageRow) Tag() string                  { return r.u.Tag }
func (r *imageRow) Platform() string             { return r.u.Platform }
func (r *imageRow) ID() string                   { return shortImage(r.u.ID) }
func (r *imageRow) Size() string                 { return units.HumanSizeWithPrecision(float64(r.u.Size), 3) }
func (r *imageRow) Created() string {
	if r.u.Created == nil || r.u.Created.IsZero() {
		return "N/A"
	}
	return units.HumanDuration(r.now.Sub(*r.u.Created)) + " ago"
}

func shortImage(id string) string {
	id = strings.TrimPrefix(id, "sha256:")
	return id[:min(12, len(id))]
}

func (o imagesOptions) print(w io.Writer, used []usedImage, now time.Time) error {
	switch {
	case o.quiet:
		var ids []string
		for _, u := range used {
			if id := strings.TrimPrefix(u.ID, "sha256:"); !slices.Contains(ids, id) {
				ids = append(ids, id)
				fmt.Fprintln(w, id)
			}
		}
		return nil
	case o.format == "json": // one array, as Docker Compose has it
		return json.NewEncoder(w).Encode(used)
	}
	return printRows(w, o.format, "table {{.Container}}\t{{.Repository}}\t{{.Tag}}\t{{.Platform}}\t{{.ID}}\t{{.Size}}\t{{.Created}}",
		formatter.SubHeaderContext{"Container": "CONTAINER", "Repository": "REPOSITORY", "Tag": "TAG", "Platform": "PLATFORM", "ID": "IMAGE ID", "Size": "SIZE", "Created": "CREATED"},
		used, func(u usedImage) formatter.SubContext { return &imageRow{u: u, now: now} })
}
