package cli

import (
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
		leaf("dashboard", "Print a dashboard for Grafana", observe.Dashboard),
	)
	cmd.Long = "Nodes answer at /metrics of their HTTP interface, where --api-listen says.\n\n" +
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
