// Command app counts visits in Redis. With -check it asks a running app
// whether it is well.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	check := flag.Bool("check", false, "ask the running app whether it is well")
	flag.Parse()
	do := serve
	if *check {
		do = healthy
	}
	if err := do(); err != nil {
		log.Fatal(err)
	}
}

func healthy() error {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := client.Get("http://127.0.0.1:8080/health")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("the app answers %s", r.Status)
	}
	return nil
}

func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	store := redis{os.Getenv("REDIS_ADDR")}
	answer := func(args ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			s, err := store.do(r.Context(), args...)
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintln(w, s)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", answer("PING"))
	mux.HandleFunc("/", answer("INCR", "visits"))
	srv := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(end)
	}()
	log.Print("the app listens on " + srv.Addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
