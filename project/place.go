package project

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"gopkg.in/yaml.v3"
)

func (i item) position() Position { return i.layer.position(i.node) }

// field gives a scalar of an item in long form.
func (i item) field(name string) string { return i.layer.expand(child(i.node, name)) }

// volume returns where a service's mount on target was written. Merged lists
// lose their indices, targets are unique.
func (s *survey) volume(service, target string) Position {
	for _, it := range slices.Backward(s.items["services."+service+".volumes"]) {
		at := it.field("target")
		if it.node.Kind == yaml.ScalarNode {
			v, err := format.ParseVolume(it.layer.expand(it.node))
			if err != nil {
				continue
			}
			at = v.Target
		}
		if path.Clean(at) == target {
			return it.position()
		}
	}
	return s.position("services", service, "volumes")
}

// port returns where a service's published port was written; one item may
// stand for a range of ports.
func (s *survey) port(service string, p types.ServicePortConfig) Position {
	for _, it := range slices.Backward(s.items["services."+service+".ports"]) {
		if it.node.Kind != yaml.ScalarNode {
			protocol := it.field("protocol")
			if protocol == "" {
				protocol = "tcp"
			}
			if it.field("target") == strconv.Itoa(int(p.Target)) && it.field("published") == p.Published && protocol == p.Protocol {
				return it.position()
			}
			continue
		}
		expanded, err := types.ParsePortConfig(it.layer.expand(it.node))
		if err != nil {
			continue
		}
		for _, e := range expanded {
			if e.Target == p.Target && e.Published == p.Published && e.HostIP == p.HostIP && e.Protocol == p.Protocol {
				return it.position()
			}
		}
	}
	return s.position("services", service, "ports")
}

// positions returns what Service.Positions holds: keys, their entries and the
// items of lists. Items of ports and volumes are numbered as in the translated
// service, and a published port can also be looked up by "ports.HOSTPORT/PROTOCOL".
func (s *survey) positions(service types.ServiceConfig) map[string]Position {
	out := s.service(service.Name)
	for i, p := range service.Ports {
		at := s.port(service.Name, p)
		out[fmt.Sprintf("ports.%d", i)] = at
		if p.Published != "" {
			out[fmt.Sprintf("ports.%s/%s", p.Published, p.Protocol)] = at
		}
	}
	for i, v := range service.Volumes {
		out[fmt.Sprintf("volumes.%d", i)] = s.volume(service.Name, v.Target)
	}
	return out
}
