// Command bench measures Gantry on this machine and prints each figure beside
// the budget that the design gives it. Times are ratios to the floor: bare
// "runc run" of the same containers in the same run, four at a time.
//
// Builds are compared with "buildah bud", pull and push with "skopeo copy".
//
// It needs root, runc, nft, ip, buildah and skopeo. GANTRY_BIN names a directory with the
// programs to measure; without it they are built.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"gantry/tests/harness"
)

func main() {
	var o options
	sizes := flag.String("sizes", "1,10,30,100", "numbers of services to measure up and down with")
	flag.IntVar(&o.rounds, "rounds", 5, "how often each measurement is repeated")
	flag.BoolVar(&o.full, "full", false, "also measure what a container costs beside 200 others")
	flag.StringVar(&o.only, "only", "", "measure nothing but this: build, memory, transfer, up, run, storm or wait")
	check := flag.Bool("check", false, "exit with 1 when a budget is exceeded")
	verbose := flag.Bool("v", false, "tell what is measured, on stderr")
	flag.Parse()
	for _, s := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 200 {
			fmt.Fprintf(os.Stderr, "bench: size %q is not a number from 1 to 200\n", s)
			os.Exit(2)
		}
		o.sizes = append(o.sizes, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var r report
	if err := guard(ctx, *verbose, func(t *tb) { measure(t, &r, o) }); err != nil {
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "bench: interrupted; all is cleaned up")
			os.Exit(130)
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if err := r.print(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if over := r.over(); *check && over > 0 {
		fmt.Fprintf(os.Stderr, "bench: %d budgets exceeded\n", over)
		os.Exit(1)
	}
}

type options struct {
	sizes  []int
	rounds int // at least 1
	full   bool
	only   string // "" for everything
}

// wants tells whether a group of measurements was asked for.
func (o options) wants(group string) bool { return o.only == "" || o.only == group }

func measure(t *tb, r *report, o options) {
	if os.Geteuid() != 0 {
		t.Fatal(errors.New("containers need root"))
	}
	o.rounds = max(o.rounds, 1)
	if o.wants("memory") {
		memory(t, r, start(t), o)
		loneMemory(t, r, start(t))
	}
	if o.wants("build") {
		builds(t, r, start(t), o)
	}

	d := start(t)
	if o.wants("transfer") {
		transfers(t, r, d, o)
	}
	if o.only == "build" || o.only == "transfer" {
		return
	}
	f := newFloor(t, d)
	if o.wants("up") {
		for _, n := range o.sizes {
			upDown(t, r, d, f, n, o)
		}
	}
	if o.wants("run") {
		runOnce(t, r, d, f, o)
		dockerRun(t, r, d, f, o)
	}
	if o.wants("storm") {
		storm(t, r, d, f, o)
	}
	if o.wants("wait") {
		reaction(t, r, d, o)
	}
	if o.full {
		growth(t, r, d, f, o)
	}
}

// start runs a daemon as users have it: without debug messages, and with
// subnets for more than 200 containers.
func start(t *tb) *harness.Daemon {
	pool := fmt.Sprintf(`"default-address-pools": [{"base": "10.%d.0.0/16", "size": 24}]`, 192+rand.IntN(60))
	d := harness.Start(t, `"log-level": "info"`, pool)
	d.Busybox("busybox")
	return d
}
