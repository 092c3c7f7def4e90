package project

import "slices"

const (
	fileOwner  = "the container gets a copy of the file; without any of uid, gid and mode, a file of the host is mounted as it is"
	laterHooks = "Gantry does not run containers as hooks; use a service and depends_on with service_completed_successfully"
	noRelabel  = "files are not relabelled for SELinux; without SELinux nothing is missing"
	notAFile   = "there is no store of them on this host; use file, environment or, for a config, content"
)

// otherRules are the keys outside of services. Source: compose specification.
var otherRules = []rule{
	{path: "configs"},
	{path: "configs.*"},
	{path: "configs.*.content"},
	{path: "configs.*.environment"},
	{path: "configs.*.external", note: "false only", limit: oneOf(notAFile, "false")},
	{path: "configs.*.external.name", support: refused, note: notAFile},
	{path: "configs.*.file"},
	{path: "configs.*.labels", support: accepted, note: "a config is a file and has no labels"},
	{path: "configs.*.labels.*", support: accepted},
	{path: "configs.*.name", support: accepted, note: "a config is a file and has no other name"},
	{path: "configs.*.template_driver", support: refused, note: swarmOnly},
	{path: "include"},
	{path: "include.[].env_file"},
	{path: "include.[].path", note: "files, also of git repositories (`URL.git#ref:path`) and registries (`oci://`)"},
	{path: "include.[].project_directory"},
	{path: "jobs", support: refused, note: "Gantry does not run jobs yet; use a service and `gantry run`"},
	{path: "models", support: refused, note: "Gantry does not run language models; remove it"},
	{path: "name"},
	{path: "networks"},
	{path: "networks.*"},
	{path: "networks.*.attachable", support: accepted, note: "any container of the host may join"},
	{path: "networks.*.driver", note: "bridge only", limit: oneOf("use bridge", "bridge")},
	{path: "networks.*.driver_opts"},
	{path: "networks.*.driver_opts.*", note: "com.docker.network.bridge.name, .enable_icc, .enable_ip_masquerade, .host_binding_ipv4 and com.docker.network.driver.mtu; those of others have no effect"},
	{path: "networks.*.enable_ipv4"},
	{path: "networks.*.enable_ipv6"},
	{path: "networks.*.external"},
	{path: "networks.*.external.name"},
	{path: "networks.*.internal"},
	{path: "networks.*.ipam"},
	{path: "networks.*.ipam.config"},
	{path: "networks.*.ipam.config.[].aux_addresses"},
	{path: "networks.*.ipam.config.[].aux_addresses.*"},
	{path: "networks.*.ipam.config.[].gateway"},
	{path: "networks.*.ipam.config.[].ip_range"},
	{path: "networks.*.ipam.config.[].subnet"},
	{path: "networks.*.ipam.driver", note: "default only", limit: oneOf("use default", "default")},
	{path: "networks.*.ipam.options", support: noted, note: "Docker's address management takes none either; they have no effect"},
	{path: "networks.*.labels"},
	{path: "networks.*.labels.*"},
	{path: "networks.*.name"},
	{path: "secrets"},
	{path: "secrets.*"},
	{path: "secrets.*.driver", support: refused, note: swarmOnly},
	{path: "secrets.*.driver_opts", support: refused, note: swarmOnly},
	{path: "secrets.*.environment"},
	{path: "secrets.*.external", note: "false only", limit: oneOf(notAFile, "false")},
	{path: "secrets.*.external.name", support: refused, note: notAFile},
	{path: "secrets.*.file"},
	{path: "secrets.*.labels", support: accepted, note: "a secret is a file and has no labels"},
	{path: "secrets.*.labels.*", support: accepted},
	{path: "secrets.*.name", support: accepted, note: "a secret is a file and has no other name"},
	{path: "secrets.*.template_driver", support: refused, note: swarmOnly},
	{path: "version", support: noted, note: "this key is obsolete and without effect; remove it"},
	{path: "volumes"},
	{path: "volumes.*"},
	{path: "volumes.*.driver", note: "local only", limit: oneOf("use local", "local")},
	{path: "volumes.*.driver_opts"},
	{path: "volumes.*.driver_opts.*", support: refused, note: "this option of the local driver is not supported; use type, device and o"},
	{path: "volumes.*.driver_opts.device"},
	{path: "volumes.*.driver_opts.o"},
	{path: "volumes.*.driver_opts.type"},
	{path: "volumes.*.external"},
	{path: "volumes.*.external.name"},
	{path: "volumes.*.labels"},
	{path: "volumes.*.labels.*"},
	{path: "volumes.*.name"},
}

// supportRules is the tree of all rules.
var supportRules = ruleTree(slices.Concat(serviceRules, otherRules))
