package main

import (
	"context"
	"os"
	"strconv"
	"syscall"

	engine "github.com/moby/moby/client"
	"github.com/moby/sys/signal"
)

// proxySignals hands the signals that this process gets to the container,
// until the function that it returns is called.
func (p process) proxySignals(ctx context.Context) (stop func()) {
	signals := make(chan os.Signal, 128)
	signal.CatchAll(signals)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		for {
			select {
			case s := <-signals:
				if name := proxied(s); name != "" {
					// best effort: it may have ended meanwhile
					p.api.ContainerKill(ctx, p.id, engine.ContainerKillOptions{Signal: name})
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.StopCatch(signals)
		cancel()
	}
}

// proxied is a signal's number, "" for those that are about this process only.
func proxied(s os.Signal) string {
	n, ok := s.(syscall.Signal)
	if !ok {
		return ""
	}
	switch n {
	case syscall.SIGCHLD, syscall.SIGPIPE, syscall.SIGURG, syscall.SIGWINCH, syscall.SIGTTIN, syscall.SIGTTOU, syscall.SIGTSTP, syscall.SIGCONT:
		return ""
	}
	return strconv.Itoa(int(n))
}
