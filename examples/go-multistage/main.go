// Command hello greets over HTTP. With -check it asks a running hello whether
// it is well; with -version it says which one it is.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

var version = "dev"

func main() {
	check := flag.Bool("check", false, "ask the running program whether it is well")
	show := flag.Bool("version", false, "print the version")
	flag.Parse()
	switch {
	case *show:
		fmt.Println(version)
	case *check:
		if err := healthy("http://127.0.0.1:8080/"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		srv := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(greet), ReadHeaderTimeout: 5 * time.Second}
		log.Printf("hello %s listens on %s", version, srv.Addr)
		log.Fatal(srv.ListenAndServe())
	}
}

func greet(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "hello from an image of one file, version %s\n", version)
}

func healthy(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("hello answers %s", r.Status)
	}
	return nil
}
