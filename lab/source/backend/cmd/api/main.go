// SPDX-License-Identifier: GPL-3.0-or-later

// A small backend in Go, as the first tenant's is one: enough to be built, migrated, released and changed.
//
//	main              serve HTTP on HOST:PORT, and profiles on 6060 in development
//	main migrate up   bring the tables up to this release
package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	_ "net/http/pprof"
	"os"
	"path/filepath"
	"sort"
	"sync/atomic"

	_ "github.com/lib/pq"
)

const greeting = "Good morning"

var requests int64

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func main() {
	log.SetFlags(0)
	database, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
	if err != nil {
		log.Fatalf("DATABASE_URL: %v", err)
	}
	if len(os.Args) == 3 && os.Args[1] == "migrate" && os.Args[2] == "up" {
		if err := migrate(database); err != nil {
			log.Fatalf("migrate: %v", err)
		}
		return
	}
	if os.Getenv("ENV") == "development" {
		go func() { log.Print(http.ListenAndServe(":6060", nil)) }()
	}
	address := setting("HOST", "0.0.0.0") + ":" + setting("PORT", "8080")
	log.Printf("listening on %s", address)
	log.Fatal(http.ListenAndServe(address, routes(database)))
}

func routes(database *sql.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		answer := map[string]string{"status": "ok", "release": setting("RELEASE", "dev")}
		if err := database.PingContext(r.Context()); err != nil {
			answer["status"] = "the database does not answer"
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		say(w, answer)
	})
	mux.HandleFunc("/api/v1/info", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		say(w, map[string]string{"release": setting("RELEASE", "dev"), "greeting": greeting})
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total %d\n", atomic.LoadInt64(&requests))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		atomic.AddInt64(&requests, 1)
		mux.ServeHTTP(w, r)
	})
}

func say(w http.ResponseWriter, answer map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

// migrate applies ./migrations/*.sql in order: each in one transaction, each once.
func migrate(database *sql.DB) error {
	const table = "CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
	if _, err := database.Exec(table); err != nil {
		return err
	}
	paths, err := filepath.Glob("migrations/*.sql")
	if err != nil {
		return err
	}
	sort.Strings(paths)
	for _, path := range paths {
		if err := apply(database, path); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func apply(database *sql.DB, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	transaction, err := database.Begin()
	if err != nil {
		return err
	}
	defer transaction.Rollback()
	// Two at once: the second waits, then finds it done.
	if _, err := transaction.Exec("LOCK TABLE schema_migrations"); err != nil {
		return err
	}
	var done bool
	row := transaction.QueryRow("SELECT EXISTS (SELECT FROM schema_migrations WHERE version = $1)", filepath.Base(path))
	if err := row.Scan(&done); err != nil || done {
		return err
	}
	if _, err := transaction.Exec(string(text)); err != nil {
		return err
	}
	if _, err := transaction.Exec("INSERT INTO schema_migrations (version) VALUES ($1)", filepath.Base(path)); err != nil {
		return err
	}
	log.Printf("migrate: applied %s", path)
	return transaction.Commit()
}
