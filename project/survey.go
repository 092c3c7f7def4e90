package project

import (
	"slices"

	"github.com/compose-spec/compose-go/v2/types"
)

// sections are the parts of a compose file whose entries count only when
// something active uses them.
var sections = []string{"services", "networks", "volumes", "configs", "secrets"}

// surveyAll looks at everything, to place the errors of a project that could
// not be loaded.
func surveyAll(src *sources) *survey {
	names := map[string][]string{}
	for _, section := range sections {
		names[section] = src.names(section)
	}
	return surveyNames(src, names)
}

// surveyProject looks at the active services and at what they use, which is
// all that a selected model has.
func surveyProject(src *sources, used *types.Project) *survey {
	return surveyNames(src, map[string][]string{
		"services": used.ServiceNames(), "networks": used.NetworkNames(), "volumes": used.VolumeNames(),
		"configs": used.ConfigNames(), "secrets": used.SecretNames(),
	})
}

func surveyNames(src *sources, names map[string][]string) *survey {
	s := newSurvey()
	for _, l := range src.all() {
		for _, e := range entries(l.root) {
			if slices.Contains(sections, e.key.Value) {
				s.at[e.key.Value] = l.position(e.key)
				continue
			}
			next, extension := supportRules.find(e.key.Value)
			if extension {
				continue
			}
			e.layer = l
			if next == nil {
				s.at[e.key.Value] = e.position()
				s.unknown(e.position(), e.key.Value)
				continue
			}
			s.visit(e, e.key.Value, next)
		}
	}
	for _, section := range sections {
		rules := supportRules.children[section].children["*"]
		for _, name := range names[section] {
			pieces := src.object(section, name)
			if section == "services" {
				pieces = src.service(name)
			}
			for _, p := range pieces {
				s.visit(p, section+"."+name, rules)
			}
		}
	}
	return s
}
