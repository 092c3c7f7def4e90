package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/spf13/cobra"
)

type portOptions struct {
	protocol string
	index    int
}

func newPortCommand(c *cli) *cobra.Command {
	var o portOptions
	cmd := &cobra.Command{
		Use: "port [OPTIONS] SERVICE PRIVATE_PORT", Short: "Print the public port for a port binding",
		Args: exactArgs(2), ValidArgsFunction: c.oneService,
		RunE: c.run(func(ctx context.Context, args []string) error { return runPort(ctx, c, o, args[0], args[1]) }),
	}
	cmd.Flags().StringVar(&o.protocol, "protocol", "tcp", "tcp or udp")
	cmd.Flags().IntVar(&o.index, "index", 0, "Index of the container if service has multiple replicas")
	return cmd
}

func runPort(ctx context.Context, c *cli, o portOptions, service, port string) error {
	number, protocol, ok := strings.Cut(port, "/")
	if !ok {
		protocol = o.protocol
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return usagef("invalid port %q: use a number from 1 to 65535", port)
	}
	t, api, err := c.reach(ctx)
	if err != nil {
		return err
	}
	defer api.Close()
	found, err := oneContainer(ctx, api, t, service, o.index, true)
	if err != nil {
		return err
	}
	address, err := published(found, uint16(n), strings.ToLower(protocol))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, address)
	return err
}

// published is where a container's port can be reached on the host.
func published(s container.Summary, port uint16, protocol string) (string, error) {
	for _, p := range s.Ports {
		if p.PrivatePort == port && p.Type == protocol && p.PublicPort > 0 {
			return net.JoinHostPort(p.IP.String(), strconv.Itoa(int(p.PublicPort))), nil
		}
	}
	return "", errdefs.ErrNotFound.WithMessage(fmt.Sprintf("no port %d/%s for container %s: %s", port, protocol, nameOf(s), publishedList(s)))
}

func publishedList(s container.Summary) string {
	var list []string
	for _, p := range s.Ports {
		if p.PublicPort > 0 {
			list = append(list, fmt.Sprintf("%d/%s", p.PrivatePort, p.Type))
		}
	}
	if len(list) == 0 {
		return "it publishes none"
	}
	return "it publishes " + strings.Join(slices.Compact(list), ", ")
}
