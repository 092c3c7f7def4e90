package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"gantry/build"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command/formatter"
	"github.com/docker/cli/opts"
	"github.com/docker/go-units"
	buildkit "github.com/moby/buildkit/client"
	"github.com/spf13/cobra"
)

// Source: buildx, du.
const (
	usageTable  = "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastUsedAt}}"
	usagePretty = `ID:           {{.ID}}
{{- if .Parents }}
Parents:
{{- range .Parents }}
 - {{.}}
{{- end }}
{{- end }}
Created at:   {{.CreatedAt}}
Mutable:      {{.Mutable}}
Reclaimable:  {{.Reclaimable}}
Shared:       {{.Shared}}
Size:         {{.Size}}
{{- if .Description}}
Description:  {{ .Description }}
{{- end }}
Usage count:  {{.UsageCount}}
{{- if .LastUsedAt}}
Last used:    {{ .LastUsedAt }}
{{- end }}
{{- if .Type}}
Type:         {{ .Type }}
{{- end }}
`
)

// usageCommand is "docker buildx du".
func (f *Front) usageCommand() *cobra.Command {
	var format string
	var verbose bool
	filter := opts.NewFilterOpt()
	cmd := &cobra.Command{
		Use: "du", Short: "Disk usage of the build cache", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "" && verbose {
				return errors.New("--format and --verbose cannot be used together")
			}
			switch {
			case verbose || format == formatter.PrettyFormatKey:
				format = usagePretty
			case format == "" || format == formatter.TableFormatKey:
				format = usageTable
			}
			terms := map[string][]string{}
			for key, values := range filter.Value() {
				for v, on := range values {
					if on {
						terms[key] = append(terms[key], v)
					}
				}
			}
			return f.cacheUsage(cmd.Context(), formatter.Format(format), terms)
		},
	}
	cmd.Flags().Var(&filter, "filter", "Provide filter values")
	cmd.Flags().BoolVar(&verbose, "verbose", false, `Shorthand for "--format=pretty"`)
	cmd.Flags().StringVar(&format, "format", "", "Format the output")
	return cmd
}

func (f *Front) cacheUsage(ctx context.Context, format formatter.Format, terms map[string][]string) error {
	rules, err := build.FilterRules(terms)
	if err != nil {
		return err
	}
	kit, err := f.kit(ctx)
	if err != nil {
		return err
	}
	defer kit.Close()
	records, err := kit.DiskUsage(ctx, buildkit.WithFilter(rules.Filters))
	if err != nil {
		return err
	}
	if rules.Unused > 0 {
		var old []*buildkit.UsageInfo
		for _, r := range records {
			if r.LastUsedAt == nil || time.Since(*r.LastUsedAt) >= rules.Unused {
				old = append(old, r)
			}
		}
		records = old
	}
	head := &usageRow{}
	head.Header = formatter.SubHeaderContext{
		"ID": "ID", "Parents": "PARENTS", "CreatedAt": "CREATED AT", "Mutable": "MUTABLE", "Reclaimable": "RECLAIMABLE", "Shared": "SHARED", "Size": "SIZE",
		"Description": "DESCRIPTION", "UsageCount": "USAGE COUNT", "LastUsedAt": "LAST ACCESSED", "Type": "TYPE",
	}
	out := formatter.Context{Output: f.Out, Format: format}
	err = out.Write(head, func(row func(formatter.SubContext) error) error {
		for _, r := range records {
			if err := row(&usageRow{format: format, r: r}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(terms) > 0 || format != usageTable && format != usagePretty {
		return err
	}
	return f.usageSummary(records)
}

// usageSummary adds the records up.
func (f *Front) usageSummary(records []*buildkit.UsageInfo) error {
	var total, reclaimable, shared int64
	for _, r := range records {
		if r.Size <= 0 {
			continue
		}
		total += r.Size
		if !r.InUse {
			reclaimable += r.Size
		}
		if r.Shared {
			shared += r.Size
		}
	}
	w := tabwriter.NewWriter(f.Out, 1, 8, 1, '\t', 0)
	if shared > 0 {
		fmt.Fprintf(w, "Shared:\t%s\nPrivate:\t%s\n", units.HumanSize(float64(shared)), units.HumanSize(float64(total-shared)))
	}
	fmt.Fprintf(w, "Reclaimable:\t%s\nTotal:\t%s\n", units.HumanSize(float64(reclaimable)), units.HumanSize(float64(total)))
	return w.Flush()
}

// usageRow is one record, as templates see it.
type usageRow struct {
	formatter.HeaderContext
	format formatter.Format
	r      *buildkit.UsageInfo
}

func (u *usageRow) MarshalJSON() ([]byte, error) { return formatter.MarshalJSON(u) }

func (u *usageRow) ID() string {
	if u.format.IsTable() && u.r.Mutable {
		return u.r.ID + "*"
	}
	return u.r.ID
}

func (u *usageRow) Parents() []string   { return u.r.Parents }
func (u *usageRow) CreatedAt() string   { return u.r.CreatedAt.String() }
func (u *usageRow) Mutable() bool       { return u.r.Mutable }
func (u *usageRow) Reclaimable() bool   { return !u.r.InUse }
func (u *usageRow) Shared() bool        { return u.r.Shared }
func (u *usageRow) Description() string { return strings.TrimSpace(u.r.Description) }
func (u *usageRow) UsageCount() int     { return u.r.UsageCount }
func (u *usageRow) Type() string        { return string(u.r.RecordType) }

func (u *usageRow) Size() string {
	size := units.HumanSize(float64(u.r.Size))
	if u.format.IsTable() && u.r.Shared {
		size += "*"
	}
	return size
}

func (u *usageRow) LastUsedAt() string {
	if u.r.LastUsedAt == nil {
		return ""
	}
	return units.HumanDuration(time.Since(*u.r.LastUsedAt)) + " ago"
}
