package project

import "github.com/compose-spec/compose-go/v2/types"

// When hooks run. Source: compose specification, services.
const (
	PostStart = "post_start"
	PreStop   = "pre_stop"
)

// Hook is a command that runs in each of a service's containers.
type Hook struct {
	Command    []string `json:"command"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Env        []string `json:"env,omitempty"` // KEY=VALUE, beside the container's own
	Privileged bool     `json:"privileged,omitempty"`
}

func (t *translator) hooks(s types.ServiceConfig, key string, list []types.ServiceHook) []Hook {
	var out []Hook
	for _, h := range list {
		if len(h.Command) == 0 {
			t.problem(s, []string{key}, "a hook needs a command")
			continue
		}
		out = append(out, t.hook(h))
	}
	return out
}

func (t *translator) hook(h types.ServiceHook) Hook {
	env := types.MappingWithEquals{}
	env.OverrideBy(h.Environment)
	return Hook{
		Command: h.Command, User: h.User, WorkingDir: h.WorkingDir, Privileged: h.Privileged,
		Env: environment(env.Resolve(t.in.options.Environment.Resolve).RemoveEmpty()),
	}
}
