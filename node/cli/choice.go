package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// choice is a flag of which a few values are allowed.
type choice struct {
	to    *string
	names []string
}

// choiceFlag adds a flag that takes one of the names, and completes them.
func choiceFlag(cmd *cobra.Command, to *string, name, usage string, names []string) {
	cmd.Flags().Var(choice{to, names}, name, usage)
	// It fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
}

func (c choice) Set(s string) error {
	if !slices.Contains(c.names, s) {
		return fmt.Errorf("is none of %s%s", strings.Join(c.names, ", "), didYouMean(s, "", c.names))
	}
	*c.to = s
	return nil
}

func (c choice) Type() string { return "name" }

func (c choice) String() string {
	if c.to == nil {
		return ""
	}
	return *c.to
}
