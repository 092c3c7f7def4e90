package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHealthyAsksForAGreeting(t *testing.T) {
	well := httptest.NewServer(http.HandlerFunc(greet))
	defer well.Close()
	if err := healthy(well.URL); err != nil {
		t.Error(err)
	}
	ill := httptest.NewServer(http.NotFoundHandler())
	defer ill.Close()
	if healthy(ill.URL) == nil {
		t.Error("a server without a page is well")
	}
}
