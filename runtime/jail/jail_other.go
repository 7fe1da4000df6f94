//go:build !linux

package jail

import "runtime"

// Probe reports what this system offers: no layer of the jail exists outside
// Linux.
func Probe() Report {
	return Report{Missing: []string{"processes are not confined on " + runtime.GOOS + ": the jail is made of Linux features"}}
}

// Apply does nothing on this system and says so in the report.
func Apply(Policy) (Report, error) { return Probe(), nil }
