package project

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/xhit/go-str2duration/v2"
)

// translator turns a compose model into the Engine API's terms. What has no
// counterpart was refused before; what is malformed becomes a problem.
type translator struct {
	in       *input
	model    *types.Project // the active part
	survey   *survey
	labels   map[string]string // of every container of the project
	problems []Problem
}

// translate makes the Project of the active services, and tells what of them
// is malformed.
func translate(in *input, model, active *types.Project, s *survey) (*Project, []Problem) {
	t := &translator{in: in, model: active, survey: s}
	p := &Project{Name: active.Name, WorkingDir: active.WorkingDir, Services: []Service{}, Networks: []Network{}, Volumes: []Volume{}}
	for _, f := range in.files {
		p.ConfigFiles = append(p.ConfigFiles, f.Filename)
	}
	for _, f := range in.options.EnvFiles {
		p.EnvFiles = append(p.EnvFiles, absolute(in.dir, f))
	}
	t.labels = projectLabels(p)
	for name := range model.AllServices() {
		if _, ok := active.Services[name]; !ok {
			p.Disabled = append(p.Disabled, name)
		}
	}
	slices.Sort(p.Disabled)
	for _, key := range active.NetworkNames() {
		p.Networks = append(p.Networks, t.network(key, active.Networks[key]))
	}
	for _, key := range active.VolumeNames() {
		p.Volumes = append(p.Volumes, t.volume(key, active.Volumes[key]))
	}
	for _, name := range active.ServiceNames() {
		p.Services = append(p.Services, t.service(active.Services[name]))
	}
	p.shareBuilds()
	return p, t.problems
}

func projectLabels(p *Project) map[string]string {
	labels := map[string]string{
		LabelProject:     p.Name,
		LabelWorkingDir:  p.WorkingDir,
		LabelConfigFiles: strings.Join(p.ConfigFiles, ","),
	}
	if len(p.EnvFiles) > 0 {
		labels[LabelEnvFile] = strings.Join(p.EnvFiles, ",")
	}
	return labels
}

// problem notes what is wrong at a path below a service.
func (t *translator) problem(s types.ServiceConfig, path []string, format string, args ...any) {
	t.problems = append(t.problems, Problem{
		Position: t.survey.position(append([]string{"services", s.Name}, path...)...),
		Service:  s.Name, Text: fmt.Sprintf(format, args...),
	})
}

func (t *translator) service(s types.ServiceConfig) Service {
	out := Service{
		Name:          s.Name,
		ContainerName: s.ContainerName,
		Image:         s.Image,
		Platform:      t.platform(s),
		Replicas:      s.GetScale(),
		Source:        t.survey.position("services", s.Name),
		Positions:     t.survey.positions(s),
		DependsOn:     dependencies(s),
		Networks:      t.attachments(s),
		ImageGiven:    s.Image != "",
		Build:         t.build(s),
		PostStart:     t.hooks(s, "post_start", s.PostStart),
		PreStop:       t.hooks(s, "pre_stop", s.PreStop),
		Watch:         t.watches(s),
		Quiet:         s.Attach != nil && !*s.Attach,
	}
	if out.Image == "" { // what is built has this name, as Docker Compose has it
		out.Image = t.model.Name + "-" + s.Name
	}
	out.PullPolicy, out.PullEvery = t.pullPolicy(s)
	out.Config = t.config(s, out.Image)
	out.HostConfig = t.hostConfig(s, out.Networks)
	out.Files = t.files(s)
	t.apiSocket(s, &out)
	t.seal(&out)
	return out
}

// seal adds the labels that say what the container was made from.
func (t *translator) seal(s *Service) {
	for k, v := range t.labels {
		s.Config.Labels[k] = v
	}
	s.Config.Labels[LabelService] = s.Name
	s.Config.Labels[LabelDependsOn] = dependsOnLabel(s.DependsOn)
	s.Hash = s.hash()
	s.Config.Labels[LabelHash] = s.Hash
}

// dependsOnLabel is SERVICE:CONDITION:RESTART, joined by commas.
func dependsOnLabel(dependencies []Dependency) string {
	parts := make([]string, len(dependencies))
	for i, d := range dependencies {
		parts[i] = fmt.Sprintf("%s:%s:%t", d.Service, d.Condition, d.Restart)
	}
	return strings.Join(parts, ",")
}

func dependencies(s types.ServiceConfig) []Dependency {
	var out []Dependency
	for name, d := range s.DependsOn {
		condition := Condition(d.Condition)
		if condition == "" {
			condition = Started
		}
		out = append(out, Dependency{Service: name, Condition: condition, Required: d.Required, Restart: d.Restart})
	}
	slices.SortFunc(out, func(a, b Dependency) int { return strings.Compare(a.Service, b.Service) })
	return out
}

// pullPolicy translates pull_policy and pull_refresh_after.
func (t *translator) pullPolicy(s types.ServiceConfig) (PullPolicy, time.Duration) {
	policy, every, err := s.GetPullPolicy()
	if err != nil {
		t.problem(s, []string{"pull_policy"}, "pull_policy %q is not valid; use missing, always, never, daily, weekly or every_<duration>", s.PullPolicy)
		return PullMissing, 0
	}
	if s.PullRefreshAfter != "" {
		if every, err = str2duration.ParseDuration(s.PullRefreshAfter); err != nil {
			t.problem(s, []string{"pull_refresh_after"}, "pull_refresh_after %q is not a duration such as 12h or 7d", s.PullRefreshAfter)
		}
	}
	switch policy {
	case types.PullPolicyAlways:
		return PullAlways, 0
	case types.PullPolicyNever:
		return PullNever, 0
	case types.PullPolicyBuild:
		if s.Build == nil {
			t.problem(s, []string{"pull_policy"}, "pull_policy \"build\" needs the key build")
		}
		return PullBuild, 0
	case types.PullPolicyRefresh:
		return PullRefresh, every
	}
	return PullMissing, 0
}

func (t *translator) config(s types.ServiceConfig, image string) container.Config {
	c := container.Config{
		Hostname:     s.Hostname,
		Domainname:   s.DomainName,
		User:         s.User,
		AttachStdout: true,
		AttachStderr: true,
		ExposedPorts: t.exposed(s),
		Tty:          s.Tty,
		OpenStdin:    s.StdinOpen,
		Env:          environment(s.Environment),
		Cmd:          s.Command,
		Entrypoint:   s.Entrypoint,
		Healthcheck:  healthcheck(s.HealthCheck),
		Image:        image,
		WorkingDir:   s.WorkingDir,
		Labels:       map[string]string{},
		StopSignal:   s.StopSignal,
		StopTimeout:  seconds(s.StopGracePeriod),
	}
	for k, v := range s.Labels {
		if strings.HasPrefix(k, "com.docker.compose.") {
			t.problem(s, []string{"labels", k}, "label %q is Docker Compose's own; choose another name", k)
			continue
		}
		c.Labels[k] = v
	}
	return c
}

// environment lists KEY=VALUE sorted by key. A key without a value removes the
// image's variable of that name, as the Engine API has it.
func environment(env types.MappingWithEquals) []string {
	var out []string
	for k, v := range env {
		if v == nil {
			out = append(out, k)
		} else {
			out = append(out, k+"="+*v)
		}
	}
	slices.Sort(out)
	return out
}

// seconds rounds up, so that nobody gets less time than asked for.
func seconds(d *types.Duration) *int {
	if d == nil {
		return nil
	}
	n := int((time.Duration(*d) + time.Second - 1) / time.Second)
	return &n
}

func healthcheck(h *types.HealthCheckConfig) *container.HealthConfig {
	if h == nil {
		return nil
	}
	if h.Disable || len(h.Test) > 0 && h.Test[0] == "NONE" {
		return &container.HealthConfig{Test: []string{"NONE"}}
	}
	out := &container.HealthConfig{
		Interval: duration(h.Interval), Timeout: duration(h.Timeout),
		StartPeriod: duration(h.StartPeriod), StartInterval: duration(h.StartInterval),
	}
	if len(h.Test) > 0 {
		out.Test = h.Test
	}
	if h.Retries != nil {
		out.Retries = int(*h.Retries)
	}
	return out
}

func duration(d *types.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}

// exposed is the set of ports of expose and ports.
func (t *translator) exposed(s types.ServiceConfig) network.PortSet {
	set := network.PortSet{}
	for i, e := range s.Expose {
		ports, err := network.ParsePortRange(e)
		if err != nil {
			t.problem(s, []string{"expose", strconv.Itoa(i)}, "expose %q is not PORT, FIRST-LAST or either with /PROTOCOL", e)
			continue
		}
		for p := range ports.All() {
			set[p] = struct{}{}
		}
	}
	for _, p := range s.Ports {
		if target, err := targetPort(p); err == nil {
			set[target] = struct{}{}
		}
	}
	if len(set) == 0 {
		return nil
	}
	return set
}

// secretTarget and configTarget are where the files appear in the container.
// Source: compose specification, services, secrets and configs, target.
func secretTarget(ref types.ServiceSecretConfig) string {
	if filepath.IsAbs(ref.Target) {
		return filepath.Clean(ref.Target)
	}
	return filepath.Join("/run/secrets", first(ref.Target, ref.Source))
}

func configTarget(ref types.ServiceConfigObjConfig) string {
	return filepath.Join("/", first(ref.Target, ref.Source))
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// readable returns why a file cannot be mounted, "" when it can.
func readable(path string) string {
	if _, err := os.Stat(path); err != nil {
		return reason(err)
	}
	return ""
}
