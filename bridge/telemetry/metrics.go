package telemetry

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// startMetrics sets the MeterProvider: Prometheus's registry always, and what
// OTEL_METRICS_EXPORTER names besides. OTEL_EXPORTER_OTLP_ENDPOINT alone sends no
// metrics: many who set it run a backend that takes traces only.
func (t *Telemetry) startMetrics(ctx context.Context, res *resource.Resource) error {
	scraped, err := prometheus.New(prometheus.WithRegisterer(t.registry))
	if err != nil {
		return fmt.Errorf("making the Prometheus exporter: %w", err)
	}
	if err := t.registry.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})); err != nil {
		return fmt.Errorf("registering the process metrics: %w", err)
	}
	options := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(scraped)}
	if exports("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") {
		reader, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return fmt.Errorf("making the metrics exporter: %w", err)
		}
		if !autoexport.IsNoneMetricReader(reader) {
			options = append(options, sdkmetric.WithReader(reader))
		}
	}
	provider := sdkmetric.NewMeterProvider(options...)
	t.meters = provider
	t.stops = append(t.stops, provider.Shutdown)
	if err := runtime.Start(runtime.WithMeterProvider(provider)); err != nil {
		return fmt.Errorf("starting the runtime metrics: %w", err)
	}
	return nil
}
