// Package telemetry sets up what the process says of itself: log lines by
// log/slog, traces and metrics by the OpenTelemetry SDK. The standard OTEL_*
// variables choose the exporters; with none set, traces go nowhere and nothing
// complains. Metrics are always there for Prometheus to fetch.
//
// It hands out providers and sets no global but one, OpenTelemetry's error
// handler: the SDK has no other place for the errors of exporters. What is
// traced and counted is decided where it happens, not here; /metrics is served
// by the admin package.
package telemetry
