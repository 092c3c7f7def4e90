package docker

import (
	"github.com/docker/cli/opts"
	"github.com/spf13/pflag"
)

// buildOptions are the flags of docker build.
type buildOptions struct {
	file, target, network, cgroupParent, builder    string
	progress, iidfile, metadata, callName           string
	provenance, sbom, isolation, cpus, mems         string
	tags, args, contexts, secrets, ssh, platforms   []string
	cacheFrom, cacheTo, outputs, labels, hosts      []string
	noCacheFilter, allow, attest, annotations       []string
	security                                        []string
	ulimits                                         *opts.UlimitOpt
	shm                                             opts.MemBytes
	memory                                          opts.MemBytes
	memorySwap                                      opts.MemSwapBytes
	shares, period, quota                           int64
	noCache, pull, quiet, load, push, check, squash bool
	given                                           func(flag string) bool
	files                                           []*archiveFile // that outputs write
	stdoutTaken                                     bool           // by an output
}

func (o *buildOptions) flags(f *pflag.FlagSet) {
	list := func(to *[]string, name, short, usage string) { f.StringArrayVarP(to, name, short, nil, usage) }
	f.StringVarP(&o.file, "file", "f", "", `Name of the Dockerfile (default: "PATH/Dockerfile")`)
	list(&o.tags, "tag", "t", `Image identifier (format: "[registry/]repository[:tag]")`)
	list(&o.args, "build-arg", "", "Set build-time variables")
	list(&o.contexts, "build-context", "", "Additional build contexts (e.g., name=path)")
	f.StringVar(&o.target, "target", "", "Set the target build stage to build")
	list(&o.secrets, "secret", "", `Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")`)
	list(&o.ssh, "ssh", "", `SSH agent socket or keys to expose to the build (format: "default|<id>[=<socket>|<key>[,<key>]]")`)
	list(&o.cacheFrom, "cache-from", "", `External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")`)
	list(&o.cacheTo, "cache-to", "", `Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")`)
	list(&o.outputs, "output", "o", `Output destination (format: "type=local,dest=path")`)
	f.StringVar(&o.progress, "progress", "auto", `Set type of progress output ("auto", "none", "plain", "quiet", "rawjson", "tty")`)
	f.StringSliceVar(&o.platforms, "platform", nil, "Set target platform for build")
	f.StringVar(&o.iidfile, "iidfile", "", "Write the image ID to a file")
	f.StringVar(&o.metadata, "metadata-file", "", "Write build result metadata to a file")
	f.BoolVar(&o.load, "load", false, `Shorthand for "--output=type=docker"`)
	f.BoolVar(&o.push, "push", false, `Shorthand for "--output=type=registry"`)
	f.BoolVar(&o.noCache, "no-cache", false, "Do not use cache when building the image")
	list(&o.noCacheFilter, "no-cache-filter", "", "Do not cache specified stages")
	f.BoolVar(&o.pull, "pull", false, "Always attempt to pull all referenced images")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the build output and print image ID on success")
	list(&o.labels, "label", "", "Set metadata for an image")
	list(&o.annotations, "annotation", "", "Add annotation to the image")
	f.StringVar(&o.network, "network", "default", `Set the networking mode for the "RUN" instructions during build`)
	list(&o.hosts, "add-host", "", `Add a custom host-to-IP mapping (format: "host:ip")`)
	f.Var(&o.shm, "shm-size", "Shared memory size for build containers")
	o.ulimits = opts.NewUlimitOpt(nil)
	f.Var(o.ulimits, "ulimit", "Ulimit options")
	list(&o.allow, "allow", "", `Allow extra privileged entitlement (e.g., "network.host", "security.insecure")`)
	list(&o.attest, "attest", "", `Attestation parameters (format: "type=sbom,generator=image")`)
	f.StringVar(&o.provenance, "provenance", "", `Shorthand for "--attest=type=provenance"`)
	f.StringVar(&o.sbom, "sbom", "", `Shorthand for "--attest=type=sbom"`)
	f.BoolVar(&o.check, "check", false, `Shorthand for "--call=check"`)
	f.StringVar(&o.callName, "call", "build", `Set method for evaluating build ("check", "outline", "targets")`)
	f.StringVar(&o.callName, "print", "build", "Print result of information request (e.g., outline, targets)")
	f.MarkHidden("print")
	f.StringVar(&o.cgroupParent, "cgroup-parent", "", `Set the parent cgroup for the "RUN" instructions during build`)
	f.VarP(&o.memory, "memory", "m", "Memory limit")
	f.Var(&o.memorySwap, "memory-swap", `Swap limit equal to memory plus swap: "-1" to enable unlimited swap`)
	f.Int64VarP(&o.shares, "cpu-shares", "c", 0, "CPU shares (relative weight)")
	f.Int64Var(&o.period, "cpu-period", 0, "Limit the CPU CFS (Completely Fair Scheduler) period")
	f.Int64Var(&o.quota, "cpu-quota", 0, "Limit the CPU CFS (Completely Fair Scheduler) quota")
	f.StringVar(&o.cpus, "cpuset-cpus", "", `CPUs in which to allow execution ("0-3", "0,1")`)
	f.StringVar(&o.mems, "cpuset-mems", "", `MEMs in which to allow execution ("0-3", "0,1")`)
	f.StringVar(&o.builder, "builder", "", "Override the configured builder instance")
	f.BoolVar(&o.squash, "squash", false, "Squash newly built layers into a single new layer")
	list(&o.security, "security-opt", "", "Security options")
	f.StringVar(&o.isolation, "isolation", "", "Container isolation technology")
	for _, name := range []string{"rm", "force-rm", "compress"} { // of the classic builder; nothing is left to them
		f.Bool(name, name == "rm", "")
		f.MarkHidden(name)
	}
	for _, name := range []string{"builder", "squash", "security-opt", "isolation"} {
		f.MarkHidden(name)
	}
}
