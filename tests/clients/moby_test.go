package clients_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	moby "github.com/moby/moby/client"
)

// Go's client does its work at the oldest version, at those where answers
// change, and at the newest.
func TestGoClientAtItsVersions(t *testing.T) {
	t.Parallel()
	d := start(t)
	for _, version := range []string{"1.40", "1.41", "1.43", "1.44", "1.47", "1.51", "1.52", moby.MaxAPIVersion, ""} {
		t.Run("version "+version, func(t *testing.T) {
			var opts []moby.Opt
			if version != "" {
				opts = append(opts, moby.WithAPIVersion(version))
			}
			c, ctx := client(t, d, opts...), t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			_, err := c.Ping(ctx, moby.PingOptions{NegotiateAPIVersion: version == ""})
			must(err)
			if got := c.ClientVersion(); version == "" && got != moby.MaxAPIVersion || version != "" && got != version {
				t.Fatalf("speaks version %s", got)
			}
			info, err := c.Info(ctx, moby.InfoOptions{})
			must(err)
			if info.Info.ID == "" || info.Info.Driver != "overlayfs" {
				t.Errorf("info: %+v", info.Info)
			}
			made, err := c.ContainerCreate(ctx, moby.ContainerCreateOptions{
				Config:     &container.Config{Image: image, Cmd: []string{"sh", "-c", "read line; echo got $line; echo err >&2"}, OpenStdin: true, StdinOnce: true},
				HostConfig: &container.HostConfig{},
			})
			must(err)
			conn, err := c.ContainerAttach(ctx, made.ID, moby.ContainerAttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
			must(err)
			defer conn.Close()
			_, err = c.ContainerStart(ctx, made.ID, moby.ContainerStartOptions{})
			must(err)
			_, err = io.WriteString(conn.Conn, "it\n")
			must(err)
			must(conn.CloseWrite())
			var out, errs bytes.Buffer
			_, err = stdcopy.StdCopy(&out, &errs, conn.Reader)
			must(err)
			if out.String() != "got it\n" || errs.String() != "err\n" {
				t.Errorf("printed %q and %q", out.String(), errs.String())
			}
			got, err := c.ContainerInspect(ctx, made.ID, moby.ContainerInspectOptions{})
			must(err)
			if got.Container.Config.Image != image || got.Container.NetworkSettings == nil {
				t.Errorf("inspect: %+v", got.Container)
			}
			listed, err := c.ContainerList(ctx, moby.ContainerListOptions{All: true})
			must(err)
			if len(listed.Items) != 1 || listed.Items[0].ID != made.ID {
				t.Errorf("listed %+v", listed.Items)
			}
			img, err := c.ImageInspect(ctx, image)
			must(err)
			if len(img.Config.Cmd) == 0 || img.Size == 0 {
				t.Errorf("image: %+v", img)
			}
			_, err = c.ContainerRemove(ctx, made.ID, moby.ContainerRemoveOptions{Force: true})
			must(err)
		})
	}
}
