package engine

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/shlex"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/sys/signal"
)

// change is a Dockerfile instruction that is carried out on a configuration.
type change struct {
	line, rest string
	to         *dockerspec.DockerOCIImageConfig
}

// applyChange carries out one Dockerfile instruction on a configuration; empty
// lines and comments do nothing. Source: docker commit --change.
func applyChange(c *dockerspec.DockerOCIImageConfig, line string) error {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil
	}
	word, rest := line, ""
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		word, rest = line[:i], strings.TrimSpace(line[i:])
	}
	ch := change{line: line, rest: rest, to: c}
	do, ok := map[string]func() error{
		"CMD": ch.cmd, "ENTRYPOINT": ch.entrypoint, "ENV": ch.env, "EXPOSE": ch.expose, "HEALTHCHECK": ch.healthcheck, "LABEL": ch.label,
		"ONBUILD": ch.onbuild, "STOPSIGNAL": ch.stopsignal, "USER": ch.user, "VOLUME": ch.volume, "WORKDIR": ch.workdir,
	}[strings.ToUpper(word)]
	switch {
	case !ok:
		return fmt.Errorf("%s is not a valid change command: %w", strings.ToLower(word), errdefs.ErrInvalidArgument)
	case rest == "":
		return ch.bad("it has no value")
	}
	return do()
}

func (ch change) bad(why string) error {
	return fmt.Errorf("change %q: %s: %w", ch.line, why, errdefs.ErrInvalidArgument)
}

// command is the JSON form's words, or the shell's with the line.
func (ch change) command(s string) []string {
	var list []string
	if strings.HasPrefix(s, "[") && unmarshalStrings(s, &list) == nil {
		return list
	}
	shell := ch.to.Shell
	if len(shell) == 0 {
		shell = []string{"/bin/sh", "-c"}
	}
	return append(append([]string{}, shell...), s)
}

// words splits a line as a shell does.
func (ch change) words() ([]string, error) {
	words, err := shlex.Split(ch.rest)
	if err != nil {
		return nil, ch.bad(err.Error())
	}
	if len(words) == 0 {
		return nil, ch.bad("it has no value")
	}
	return words, nil
}

// pairs reads KEY=VALUE …, or KEY VALUE as it once was.
func (ch change) pairs(add func(k, v string)) error {
	words, err := ch.words()
	if err != nil {
		return err
	}
	if len(words) > 1 && !strings.Contains(words[0], "=") {
		add(words[0], strings.Join(words[1:], " "))
		return nil
	}
	for _, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return ch.bad("want KEY=VALUE")
		}
		add(k, v)
	}
	return nil
}

func (ch change) cmd() error {
	ch.to.Cmd = ch.command(ch.rest)
	return nil
}

func (ch change) entrypoint() error {
	ch.to.Entrypoint = ch.command(ch.rest)
	return nil
}

func (ch change) env() error { return ch.pairs(func(k, v string) { setEnv(ch.to, k+"="+v) }) }

func (ch change) label() error {
	return ch.pairs(func(k, v string) {
		if ch.to.Labels == nil {
			ch.to.Labels = map[string]string{}
		}
		ch.to.Labels[k] = v
	})
}

func (ch change) expose() error {
	words, err := ch.words()
	if err != nil {
		return err
	}
	if ch.to.ExposedPorts == nil {
		ch.to.ExposedPorts = map[string]struct{}{}
	}
	for _, w := range words {
		ports, err := network.ParsePortRange(w)
		if err != nil {
			return ch.bad(err.Error())
		}
		for p := range ports.All() {
			ch.to.ExposedPorts[p.String()] = struct{}{}
		}
	}
	return nil
}

func (ch change) volume() error {
	var paths []string
	if !strings.HasPrefix(ch.rest, "[") || unmarshalStrings(ch.rest, &paths) != nil {
		paths = strings.Fields(ch.rest)
	}
	if ch.to.Volumes == nil {
		ch.to.Volumes = map[string]struct{}{}
	}
	for _, p := range paths {
		if p == "" {
			return ch.bad("a volume's path is empty")
		}
		ch.to.Volumes[p] = struct{}{}
	}
	return nil
}

func (ch change) user() error {
	ch.to.User = ch.rest
	return nil
}

func (ch change) workdir() error {
	dir := ch.rest
	if !path.IsAbs(dir) {
		dir = path.Join("/", ch.to.WorkingDir, dir)
	}
	ch.to.WorkingDir = path.Clean(dir)
	return nil
}

func (ch change) stopsignal() error {
	if _, err := signal.ParseSignal(ch.rest); err != nil {
		return ch.bad(err.Error())
	}
	ch.to.StopSignal = ch.rest
	return nil
}

func (ch change) onbuild() error {
	ch.to.OnBuild = append(ch.to.OnBuild, ch.rest)
	return nil
}

// healthcheck reads NONE, or [--interval=…] … CMD and a command.
func (ch change) healthcheck() error {
	h := &dockerspec.HealthcheckConfig{}
	rest := ch.rest
	for strings.HasPrefix(rest, "--") {
		var opt string
		opt, rest, _ = strings.Cut(rest, " ")
		rest = strings.TrimSpace(rest)
		name, value, _ := strings.Cut(opt, "=")
		var err error
		switch name {
		case "--interval":
			h.Interval, err = time.ParseDuration(value)
		case "--timeout":
			h.Timeout, err = time.ParseDuration(value)
		case "--start-period":
			h.StartPeriod, err = time.ParseDuration(value)
		case "--start-interval":
			h.StartInterval, err = time.ParseDuration(value)
		case "--retries":
			h.Retries, err = strconv.Atoi(value)
		default:
			return ch.bad(fmt.Sprintf("option %s is unknown", name))
		}
		if err != nil {
			return ch.bad(err.Error())
		}
	}
	kind, command, _ := strings.Cut(rest, " ")
	command = strings.TrimSpace(command)
	switch kind = strings.ToUpper(kind); {
	case kind == "NONE" && command == "" && rest == ch.rest:
		h.Test = []string{"NONE"}
	case kind == "CMD" && command != "":
		var list []string
		if strings.HasPrefix(command, "[") && unmarshalStrings(command, &list) == nil {
			h.Test = append([]string{"CMD"}, list...)
		} else {
			h.Test = []string{"CMD-SHELL", command}
		}
	default:
		return ch.bad("want NONE, or options, CMD and a command")
	}
	if err := checkHealth(h); err != nil {
		return ch.bad(err.Error())
	}
	ch.to.Healthcheck = h
	return nil
}
