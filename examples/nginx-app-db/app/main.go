// Command app shows a page made from a row of a database, and counts visits
// there. With -check it asks a running app whether it is well.
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/lib/pq"
)

const schema = `
CREATE TABLE IF NOT EXISTS greeting (id int PRIMARY KEY, text text NOT NULL, visits bigint NOT NULL DEFAULT 0);
INSERT INTO greeting (id, text) VALUES (1, 'Hello from a database row') ON CONFLICT DO NOTHING`

var page = template.Must(template.New("page").Parse(`<!doctype html>
<title>Gantry</title>
<h1>{{.Text}}</h1>
<p>Visit number {{.Visits}}, served by {{.Host}}.</p>
`))

func main() {
	check := flag.Bool("check", false, "ask the running app whether it is well")
	flag.Parse()
	if *check {
		if err := healthy(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if err := serve(); err != nil {
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
	db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return fmt.Errorf("database: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		if err := db.PingContext(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		view := struct {
			Text   string
			Visits int64
			Host   string
		}{Host: host}
		row := db.QueryRowContext(r.Context(), "UPDATE greeting SET visits = visits + 1 WHERE id = 1 RETURNING text, visits")
		if err := row.Scan(&view.Text, &view.Visits); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		if err := page.Execute(w, view); err != nil {
			log.Print(err)
		}
	})
	srv := &http.Server{Addr: ":8080", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		srv.Shutdown(end)
	}()
	log.Print("the app listens on :8080")
	if err := srv.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}
