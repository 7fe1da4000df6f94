package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dugnad/dugnad/node/observe"
)

// observeCommand prints what it takes to watch nodes with Prometheus and Grafana.
func (a *app) observeCommand() *cobra.Command {
	leaf := func(use, short string, text []byte) *cobra.Command {
		return &cobra.Command{
			Use: use, Short: short, Args: noOther,
			RunE: func(*cobra.Command, []string) error {
				_, err := a.Out.Write(text)
				return err
			},
		}
	}
	cmd := group("observe", "Print what it takes to watch nodes with Prometheus and Grafana",
		a.metricsCommand(),
		leaf("alerts", "Print alert rules for Prometheus", observe.Alerts),
		leaf("scrape", "Print a configuration for Prometheus that scrapes nodes", observe.Scrape),
		leaf("dashboard", "Print a dashboard for Grafana", observe.Dashboard),
	)
	cmd.Long = "Nodes answer at /metrics of their HTTP interface, where --api-listen says: to who is\n" +
		"on their machine, and to who shows the key of --metrics-key-file.\n\n" +
		"  dugnad observe scrape > prometheus.yml       # says what goes where\n" +
		"  dugnad observe alerts > alerts.yaml          # name it under rule_files in prometheus.yml\n" +
		"  dugnad observe dashboard > dugnad.json       # import it in Grafana\n\n" +
		"Both look for a scrape job called dugnad."
	return cmd
}

func (a *app) metricsCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "metrics", Short: "Print what each metric means, and what each limit bounds", Args: noOther,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				_, err := a.Out.Write([]byte(observe.Catalogue))
				return err
			}
			metrics, err := observe.Metrics(observe.Catalogue)
			if err != nil {
				return err
			}
			limits, err := observe.Limits(observe.Catalogue)
			if err != nil {
				return err
			}
			return a.writeJSON(struct {
				Metrics []observe.Metric `json:"metrics"`
				Limits  []observe.Limit  `json:"limits"`
			}{metrics, limits})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// metricsKeyBytesMin and metricsKeyBytesMax bound the key to a node's metrics: one that is
// shorter could be guessed.
const (
	metricsKeyBytesMin = 32
	metricsKeyBytesMax = 1024
)

// readMetricsKey reads the key to a node's metrics; without a path there is none.
func readMetricsKey(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	key, err := readTokenFile(path)
	if err != nil {
		return "", usageError("--metrics-key-file %s: %w", path, err)
	}
	shown := func(r rune) bool { return r <= ' ' || r > '~' }
	if len(key) < metricsKeyBytesMin || len(key) > metricsKeyBytesMax || strings.ContainsFunc(key, shown) {
		return "", usageError("--metrics-key-file %s: %w", path, errMetricsKey)
	}
	return key, nil
}

// errMetricsKey is returned for a key to metrics that is none.
var errMetricsKey = fmt.Errorf("a key has %d to %d letters, digits and signs in one line, and none of them is to be guessed: openssl rand -hex 32 makes one", metricsKeyBytesMin, metricsKeyBytesMax)
