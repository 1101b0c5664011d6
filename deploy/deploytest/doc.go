// Package deploytest holds the tests of what lies in deploy/ and is no program:
// the NATS configuration with its permissions, the alerts and dashboards, the
// procedure that erases a user, and the forms of the other files. They load the
// very files and run them against real servers and a real bridge.
package deploytest
