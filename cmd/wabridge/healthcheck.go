package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newHealthcheckCommand() *cobra.Command {
	var live bool
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running wabridge on this host whether it is ready",
		Long: `Ask the wabridge that listens on WABRIDGE_ADMIN_ADDR whether it is ready: exit
code 0 says yes. It is for containers, whose image has no shell and no client.`,
		Example: `  wabridge healthcheck
  wabridge healthcheck --live`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, f, err := readSettings()
			if err != nil {
				return err
			}
			addr := f.address("ADMIN_ADDR", s.AdminAddr)
			if err := f.err(); err != nil {
				return err
			}
			if addr == off {
				return usageError("WABRIDGE_ADMIN_ADDR is off: there is nothing to ask")
			}
			path := "/readyz"
			if live {
				path = "/livez"
			}
			return askHealth(cmd.Context(), cmd.OutOrStdout(), addr, path)
		},
	}
	cmd.Flags().BoolVar(&live, "live", false, "ask whether it lives, not whether it is ready")
	return cmd
}

// askHealth prints the answer of the admin listener; an answer other than 200
// is an error.
func askHealth(ctx context.Context, w io.Writer, addr, path string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("reading the admin address: %w", err)
	}
	// A listener on every address is reached on the loopback one.
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", path, err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking %s: %w", path, err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 16<<10))
	if err := cmp.Or(err, res.Body.Close()); err != nil {
		return fmt.Errorf("reading the answer of %s: %w", path, err)
	}
	answer := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s: %s", path, res.Status, strings.ReplaceAll(answer, "\n", "; "))
	}
	_, err = fmt.Fprintln(w, answer)
	return err
}
