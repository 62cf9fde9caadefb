// Package e2e holds tests with real parts only: processes of our own binary over real sockets, modules and clients from
// npm, kill -9 (§3, §5).
//
// In goes the repository as it stands; out come verdicts. The tests carry the build tag e2e and run with `make e2e`.
//
// It never reaches into a package: what it checks, a user could see. Only what sends thousands of messages does so through
// the client that the commands are made of.
//
// Start with thread_test.go; harness_test.go starts and stops processes, fleet_test.go a whole network of them for crash_test.go
// and soak_test.go.
package e2e
