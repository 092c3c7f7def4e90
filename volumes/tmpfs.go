package volumes

import (
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/mount"
)

// tmpfsFlags are the options without a value, each with what undoes it.
// Source: mount(8), and what runc knows.
var tmpfsFlags = map[string]string{
	"ro": "rw", "rw": "ro",
	"exec": "noexec", "noexec": "exec",
	"suid": "nosuid", "nosuid": "suid",
	"dev": "nodev", "nodev": "dev",
	"sync": "async", "async": "sync",
	"atime": "noatime", "noatime": "atime",
	"diratime": "nodiratime", "nodiratime": "diratime",
	"relatime": "norelatime", "norelatime": "relatime",
	"strictatime": "nostrictatime", "nostrictatime": "strictatime",
	"dirsync": "", "noswap": "",
}

// tmpfsValues are the options with a value, and its form. Source: tmpfs(5).
var tmpfsValues = map[string]*regexp.Regexp{
	"size":      regexp.MustCompile(`^[0-9]+[kKmMgG%]?$`),
	"nr_blocks": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`),
	"nr_inodes": regexp.MustCompile(`^[0-9]+[kKmMgG]?$`),
	"mode":      regexp.MustCompile(`^[0-7]{1,5}$`),
	"uid":       regexp.MustCompile(`^[0-9]{1,10}$`),
	"gid":       regexp.MustCompile(`^[0-9]{1,10}$`),
	"mpol":      regexp.MustCompile(`^[a-z]+(=[a-z]+)?(:[0-9,-]+)?$`),
	"huge":      regexp.MustCompile(`^(never|always|within_size|advise)$`),
}

// parseTmpfs reads an entry of HostConfig.Tmpfs.
func parseTmpfs(target, options string) (Point, error) {
	clean, err := cleanTarget(target)
	if err != nil {
		return Point{}, err
	}
	p := Point{Type: mount.TypeTmpfs, Target: clean, RW: true}
	var opts []string
	if options != "" {
		opts = splitOptions(options)
	}
	p.Tmpfs, err = checkTmpfs(opts)
	if i := slices.Index(p.Tmpfs, "ro"); i >= 0 {
		p.Tmpfs = slices.Delete(p.Tmpfs, i, i+1)
		p.RW = false
	}
	return p, err
}

// splitOptions splits at commas, save those inside mpol's list of nodes.
func splitOptions(s string) []string {
	var out []string
	for _, o := range strings.Split(s, ",") {
		if n := len(out); n > 0 && strings.HasPrefix(out[n-1], "mpol=") && strings.Contains(out[n-1], ":") && o != "" && strings.Trim(o, "0123456789-") == "" {
			out[n-1] += "," + o
			continue
		}
		out = append(out, o)
	}
	return out
}

// checkTmpfs refuses what a tmpfs does not know and returns the options that
// count: of two that contradict each other, the later one. sizes are taken
// apart by the kernel.
func checkTmpfs(opts []string) ([]string, error) {
	var out []string
	for _, o := range opts {
		name, value, valued := strings.Cut(o, "=")
		undoes, flag := tmpfsFlags[name]
		form, known := tmpfsValues[name]
		switch {
		case flag && !valued:
		case known && valued && form.MatchString(value):
		case known:
			return nil, invalid("tmpfs option %q has no valid value", o)
		default:
			return nil, invalid("tmpfs option %q is unknown", o)
		}
		out = slices.DeleteFunc(out, func(p string) bool {
			n, _, _ := strings.Cut(p, "=")
			return n == name || flag && n == undoes
		})
		out = append(out, o)
	}
	return out, nil
}

// unixMode turns permissions and the special bits into the kernel's form. The
// API carries them in that form already, or as Go's own bits.
func unixMode(m fs.FileMode) uint32 {
	out := uint32(m) & 0o7777
	for _, b := range []struct {
		bit fs.FileMode
		to  uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&b.bit != 0 {
			out |= b.to
		}
	}
	return out
}
