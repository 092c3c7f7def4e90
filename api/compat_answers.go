package api

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/moby/moby/api/types/events"
)

// answers are what older versions answer otherwise.
var answers = []change[func(object)]{
	{"GET /containers/json", apiVersion{1, 52}, portsWithoutEmptyIP},
	{"GET /containers/json", apiVersion{1, 48}, without("ImageManifestDescriptor")},
	{"GET /containers/json", apiVersion{1, 46}, inside("HostConfig", without("Annotations"))},

	{"GET /containers/{id}/json", apiVersion{1, 52}, inside("NetworkSettings", flatNetwork)},
	{"GET /containers/{id}/json", apiVersion{1, 52}, driverOfStorage},
	{"GET /containers/{id}/json", apiVersion{1, 52}, inside("Config", nullDefaults("OnBuild"))},
	{"GET /containers/{id}/json", apiVersion{1, 48}, without("ImageManifestDescriptor")},
	{"GET /containers/{id}/json", apiVersion{1, 45}, aliasOfID},
	{"GET /containers/{id}/json", apiVersion{1, 42}, inside("HostConfig", func(o object) {
		setDefault(o, "KernelMemory", 0)
		setDefault(o, "KernelMemoryTCP", 0)
	})},

	{"GET /images/json", apiVersion{1, 48}, without("Descriptor")},
	{"GET /images/json", apiVersion{1, 47}, without("Manifests")},
	{"GET /images/json", apiVersion{1, 44}, virtualSize},
	{"GET /images/json", apiVersion{1, 43}, namesOfNone},

	{"GET /images/{name}/json", apiVersion{1, 53}, without("Identity")},
	{"GET /images/{name}/json", apiVersion{1, 52}, func(o object) {
		for _, k := range []string{"Parent", "Comment", "DockerVersion", "Author"} {
			setDefault(o, k, "")
		}
	}},
	{"GET /images/{name}/json", apiVersion{1, 52}, driverOfStorage},
	{"GET /images/{name}/json", apiVersion{1, 52}, inside("Config", func(o object) {
		nullDefaults("Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes")(o)
		setDefault(o, "User", "")
		setDefault(o, "WorkingDir", "")
	})},
	{"GET /images/{name}/json", apiVersion{1, 50}, inside("Config", containersFields)},
	{"GET /images/{name}/json", apiVersion{1, 48}, without("Descriptor", "Manifests")},
	{"GET /images/{name}/json", apiVersion{1, 45}, func(o object) {
		config := object{"Cmd": nil, "Entrypoint": nil, "Env": nil, "Labels": nil, "OnBuild": nil, "Volumes": nil, "User": "", "WorkingDir": ""}
		containersFields(config)
		setDefault(o, "Container", "")
		setDefault(o, "ContainerConfig", config)
	}},
	{"GET /images/{name}/json", apiVersion{1, 44}, virtualSize},

	{"GET /info", apiVersion{1, 53}, without("NRI")},
	{"GET /info", apiVersion{1, 50}, without("DiscoveredDevices")},
	{"GET /info", apiVersion{1, 50}, func(o object) { // "now always false", and left out since
		setDefault(o, "BridgeNfIptables", false)
		setDefault(o, "BridgeNfIp6tables", false)
	}},
	{"GET /info", apiVersion{1, 49}, without("FirewallBackend")},
	{"GET /info", apiVersion{1, 49}, func(o object) {
		for _, k := range []string{"ContainerdCommit", "RuncCommit", "InitCommit"} {
			if c := child(o, k); c != nil {
				setDefault(c, "Expected", c["ID"])
			}
		}
	}},
	{"GET /info", apiVersion{1, 49}, inside("RegistryConfig", nullDefaults("AllowNondistributableArtifactsCIDRs", "AllowNondistributableArtifactsHostnames"))},
	{"GET /info", apiVersion{1, 46}, without("Containerd")},
	{"GET /info", apiVersion{1, 44}, without("CDISpecDirs")},
	{"GET /info", apiVersion{1, 44}, inside("Runtimes", func(o object) {
		for name := range o {
			delete(child(o, name), "status")
		}
	})},
	{"GET /info", apiVersion{1, 42}, func(o object) {
		setDefault(o, "KernelMemory", false)
		setDefault(o, "KernelMemoryTCP", false)
	}},

	{"GET /networks/{id}", apiVersion{1, 52}, without("Status")},

	{"GET /system/df", apiVersion{1, 53}, flatUsage},
	{"GET /system/df", apiVersion{1, 52}, without("ImageUsage", "ContainerUsage", "VolumeUsage", "BuildCacheUsage")},
	{"GET /system/df", apiVersion{1, 44}, func(o object) {
		for _, image := range objects(o["Images"]) {
			virtualSize(image)
		}
	}},

	{"GET /events", apiVersion{1, 52}, flatEvent},
}

func nullDefaults(keys ...string) func(object) {
	return func(o object) {
		for _, k := range keys {
			setDefault(o, k, nil)
		}
	}
}

// flatNetwork repeats the endpoint in the network "bridge" one level higher.
func flatNetwork(o object) {
	for k, v := range (object{
		"Bridge": "", "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
		"SecondaryIPAddresses": nil, "SecondaryIPv6Addresses": nil,
		"EndpointID": "", "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
		"IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "MacAddress": "",
	}) {
		setDefault(o, k, v)
	}
	end := child(child(o, "Networks"), "bridge")
	for _, k := range []string{"EndpointID", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress"} {
		if v, ok := end[k]; ok {
			o[k] = v
		}
	}
}

// driverOfStorage writes the snapshotter as the graph driver that it once was.
func driverOfStorage(o object) {
	name := "overlayfs"
	if s, ok := child(child(child(o, "Storage"), "RootFS"), "Snapshot")["Name"].(string); ok && s != "" {
		name = s
	}
	delete(o, "Storage")
	setDefault(o, "GraphDriver", object{"Name": name, "Data": nil})
}

// aliasOfID adds the short ID to the aliases on networks that have names.
func aliasOfID(o object) {
	id, _ := o["Id"].(string)
	if len(id) < 12 {
		return
	}
	networks := child(child(o, "NetworkSettings"), "Networks")
	for _, name := range slices.Sorted(maps.Keys(networks)) {
		end := child(networks, name)
		if end == nil || name == "bridge" || name == "host" || name == "none" {
			continue
		}
		aliases, _ := end["Aliases"].([]any)
		if !slices.Contains(aliases, any(id[:12])) {
			end["Aliases"] = append(aliases, id[:12])
		}
	}
}

func portsWithoutEmptyIP(o object) {
	for _, p := range objects(o["Ports"]) {
		if p["IP"] == "" {
			delete(p, "IP")
		}
	}
}

func virtualSize(o object) { setDefault(o, "VirtualSize", o["Size"]) }

// namesOfNone stands for an image that has no name.
func namesOfNone(o object) {
	for k, none := range map[string]string{"RepoTags": "<none>:<none>", "RepoDigests": "<none>@<none>"} {
		if names, _ := o[k].([]any); len(names) == 0 {
			o[k] = []any{none}
		}
	}
}

// containersFields are those of a container's configuration that an image's
// once had as well, always empty.
func containersFields(o object) {
	for _, k := range []string{"Hostname", "Domainname", "Image"} {
		setDefault(o, k, "")
	}
	for _, k := range []string{"AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"} {
		setDefault(o, k, false)
	}
}

// flatUsage lists all objects with their sizes.
func flatUsage(o object) {
	setDefault(o, "LayersSize", 0)
	if size, ok := child(o, "ImageUsage")["TotalSize"].(json.Number); ok {
		o["LayersSize"] = size
	}
	for old, k := range map[string]string{"Images": "ImageUsage", "Containers": "ContainerUsage", "Volumes": "VolumeUsage", "BuildCache": "BuildCacheUsage"} {
		items, ok := child(o, k)["Items"].([]any)
		if !ok {
			items = []any{}
		}
		setDefault(o, old, items)
	}
}

// knowsEvent tells whether a version has an event at all.
func knowsEvent(v apiVersion, m events.Message) bool {
	switch {
	case m.Action == events.ActionPrune:
		return v.atLeast(1, 41)
	case m.Type == events.ImageEventType && m.Action == events.ActionCreate:
		return v.atLeast(1, 46)
	}
	return true
}

// flatEvent repeats what happened to whom as the first versions had it.
func flatEvent(o object) {
	actor := child(o, "Actor")
	switch o["Type"] {
	case "container":
		if image, ok := child(actor, "Attributes")["image"]; ok {
			o["from"] = image
		}
	case "image":
	default:
		return
	}
	o["status"], o["id"] = o["Action"], actor["ID"]
}
