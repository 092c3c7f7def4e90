package engine

import (
	"reflect"
	"strings"
	"testing"

	"gantry/containerd/spec"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/api/types/container"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

func TestUpdateChangesWhatItNamesAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := container.HostConfig{Binds: []string{"/a:/b"}, Resources: container.Resources{
			Memory: 1 << 30, MemorySwap: 2 << 30, CPUShares: 7, CpusetCpus: "0", PidsLimit: ptr(int64(9)), CPURealtimePeriod: 5, Devices: []container.DeviceMapping{{PathOnHost: "/dev/null"}},
		}}
		shares := rapid.SampledFrom([]int64{0, 2, 512}).Draw(t, "shares")
		memory := rapid.SampledFrom([]int64{0, 100 << 20, 2 << 30}).Draw(t, "memory")
		cpus := rapid.SampledFrom([]int64{0, 5e8}).Draw(t, "cpus")
		pids := rapid.SampledFrom([]*int64{nil, ptr(int64(-1)), ptr(int64(3))}).Draw(t, "pids")
		policy := rapid.SampledFrom([]container.RestartPolicy{{}, {Name: "no"}, {Name: "on-failure", MaximumRetryCount: 2}}).Draw(t, "policy")
		want := before
		for to, v := range map[*int64]int64{&want.CPUShares: shares, &want.Memory: memory, &want.NanoCPUs: cpus} {
			if v != 0 {
				*to = v
			}
		}
		if pids != nil {
			want.PidsLimit = pids
		}
		if policy.Name != "" {
			want.RestartPolicy = policy
		}
		got, err := mergeUpdate(before, container.UpdateConfig{RestartPolicy: policy, Resources: container.Resources{CPUShares: shares, Memory: memory, NanoCPUs: cpus, PidsLimit: pids}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b container.DeviceRequest) bool { return reflect.DeepEqual(a, b) })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestUpdateRefusesContradictions(t *testing.T) {
	type resources = container.Resources
	for name, c := range map[string]struct {
		has  container.HostConfig
		asks container.UpdateConfig
		says string
	}{
		"cpus over a period": {container.HostConfig{Resources: resources{CPUPeriod: 5000}}, container.UpdateConfig{Resources: resources{NanoCPUs: 1e9}}, "CPU Period has already been set"},
		"cpus over a quota":  {container.HostConfig{Resources: resources{CPUQuota: 5000}}, container.UpdateConfig{Resources: resources{NanoCPUs: 1e9}}, "CPU Quota has already been set"},
		"period over cpus":   {container.HostConfig{Resources: resources{NanoCPUs: 1e9}}, container.UpdateConfig{Resources: resources{CPUPeriod: 5000}}, "CPU Period cannot be updated"},
		"quota over cpus":    {container.HostConfig{Resources: resources{NanoCPUs: 1e9}}, container.UpdateConfig{Resources: resources{CPUQuota: 5000}}, "CPU Quota cannot be updated"},
		"memory over swap":   {container.HostConfig{Resources: resources{Memory: 1 << 30, MemorySwap: 2 << 30}}, container.UpdateConfig{Resources: resources{Memory: 3 << 30}}, "already set memoryswap limit"},
		"swap alone":         {container.HostConfig{}, container.UpdateConfig{Resources: resources{MemorySwap: 1 << 30}}, "always set the Memory limit"},
		"policy with --rm":   {container.HostConfig{AutoRemove: true}, container.UpdateConfig{RestartPolicy: container.RestartPolicy{Name: "always"}}, "AutoRemove is enabled"},
	} {
		if _, err := mergeUpdate(c.has, c.asks); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want a conflict that says %q", name, err, c.says)
		}
	}
}

// A field that dockerd would quietly leave as it is must be refused or changed.
func TestUpdateIgnoresNoField(t *testing.T) {
	f := spec.Facts{CPUs: 4, CPU: true, Memory: true, Swap: true, CPURealtime: true}
	typ := reflect.TypeFor[container.Resources]()
	for i := range typ.NumField() {
		var req container.UpdateConfig
		field := reflect.ValueOf(&req.Resources).Elem().Field(i)
		fill(field)
		if _, err := checkUpdate(req, f); err != nil && strings.Contains(err.Error(), "cannot be updated") {
			continue
		}
		before := container.HostConfig{Resources: container.Resources{Memory: 1 << 30}}
		after, err := mergeUpdate(before, req)
		if err == nil && reflect.DeepEqual(before, after) && typ.Field(i).Name != "CPUPercent" { // that one warns
			t.Errorf("%s is ignored", typ.Field(i).Name)
		}
	}
}

// fill gives a value that is not empty.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Int64:
		v.SetInt(8 << 20)
	case reflect.Uint64, reflect.Uint16:
		v.SetUint(500)
	case reflect.String:
		v.SetString("0")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if v.Elem().Kind() != reflect.Struct {
			fill(v.Elem())
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	}
}
