package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dugnad/dugnad/node/api"
	"github.com/dugnad/dugnad/node/client"
)

func (a *app) tenantListCommand() *cobra.Command {
	return a.gridCommand(&cobra.Command{
		Use: "ls", Short: "List tenants, with what they hold",
		Long: "Lists all tenants on the node's own machine, and with a token the one that it is of.",
	}, listTenants)
}

func listTenants(ctx context.Context, g *grid, _ []string) error {
	out := api.Tenants{Tenants: []api.Tenant{}}
	for p := (client.Page{Limit: api.PageMax}); ; {
		list, err := g.client.Tenants(ctx, p)
		if err != nil {
			return err
		}
		out.Tenants, out.Index = append(out.Tenants, list.Tenants...), list.Index
		if p.After = list.Next; p.After == "" {
			break
		}
	}
	if g.json {
		return g.writeJSON(out)
	}
	t := newTable(g.Out, "TENANT", "WEIGHT", "BAND", "JOBS", "QUEUED", "FUEL TODAY", "MEMORY", "STORED")
	for i := range out.Tenants {
		n := &out.Tenants[i]
		h, q := &n.Held, &n.Quota
		t.row(n.ID, strconv.FormatUint(uint64(q.Weight), 10), fmt.Sprint("0-", q.BandMax),
			part(uint64(h.Jobs), uint64(q.Jobs), countText), part(h.QueuedTasks, q.QueuedTasks, countText),
			part(h.FuelToday, q.FuelPerDay, fuelAmount), part(h.MemoryBytes, q.MemoryBytes, formatBytes), part(h.StoredBytes, q.StoredBytes, formatBytes))
	}
	return t.flush()
}

// part shows how much of a quota is held; one that is zero is none.
func part(held, quota uint64, format func(uint64) string) string {
	if quota == 0 {
		return format(held)
	}
	return format(held) + " of " + format(quota)
}

func countText(n uint64) string { return strconv.FormatUint(n, 10) }

// oneTenant is a command on the tenant that its argument names; without one it is the
// asker's own, whose name is "".
func (a *app) oneTenant(cmd *cobra.Command, do func(ctx context.Context, g *grid, tenant string) error) *cobra.Command {
	use := cmd.Use
	cmd.Use = strings.Fields(use)[0]
	cmd = a.gridCommand(cmd, func(ctx context.Context, g *grid, args []string) error {
		if len(args) == 1 {
			return do(ctx, g, args[0])
		}
		return do(ctx, g, "")
	})
	cmd.Use = use
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError("%s, want %s", plural(uint64(len(args)), "argument"), cmd.UseLine())
		}
		return nil
	}
	return cmd
}

// named returns the tenant that is meant: the asker's own unless it has a name.
func (g *grid) named(ctx context.Context, tenant string) (api.Tenant, error) {
	if tenant != "" {
		return g.client.Tenant(ctx, tenant)
	}
	r, err := g.client.Usage(ctx, client.UsageQuery{By: api.UsageByModule})
	if err != nil {
		return api.Tenant{}, err
	}
	return g.client.Tenant(ctx, r.Tenant)
}

func (a *app) tenantShowCommand() *cobra.Command {
	return a.oneTenant(&cobra.Command{
		Use: "show [TENANT]", Short: "Show what a tenant holds, and what bounds it",
		Long: "Shows a tenant; without a name that of the token, or the one of jobs without a token.",
	}, func(ctx context.Context, g *grid, tenant string) error {
		t, err := g.named(ctx, tenant)
		if err != nil {
			return err
		}
		return g.showTenant(&t)
	})
}

func (g *grid) showTenant(n *api.Tenant) error {
	if g.json {
		return g.writeJSON(n)
	}
	q, h := &n.Quota, &n.Held
	t := newTable(g.Out)
	t.row("tenant", n.ID)
	t.row("weight", countText(uint64(q.Weight)))
	t.row("bands", fmt.Sprint("0-", q.BandMax))
	t.row("fuel", part(h.FuelReserved+h.FuelUsed, q.Fuel, fuelAmount)+fmt.Sprintf(" (%s reserved, %s used)", fuelAmount(h.FuelReserved), fuelAmount(h.FuelUsed)))
	t.row("fuel today", part(h.FuelReserved+h.FuelToday, q.FuelPerDay, fuelAmount)+fmt.Sprintf(" (%s reserved, %s used)", fuelAmount(h.FuelReserved), fuelAmount(h.FuelToday)))
	t.row("fuel per second", part(h.FuelPerSecond, q.FuelPerSecond, fuelAmount))
	t.row("memory", part(h.MemoryBytes, q.MemoryBytes, formatBytes))
	t.row("queued tasks", part(h.QueuedTasks, q.QueuedTasks, countText))
	t.row("jobs", part(uint64(h.Jobs), uint64(q.Jobs), countText))
	t.row("stored", part(h.StoredBytes, q.StoredBytes, formatBytes))
	t.row("capabilities", cmp.Or(strings.Join(n.Capabilities, ", "), "none"))
	t.row("egress today", part(h.EgressToday, q.EgressPerDay, formatBytes))
	return t.flush()
}

// boundValue is a flag for a bound: an amount, or none.
type boundValue struct{ quantityValue }

func (b boundValue) Set(s string) error {
	if s == "none" {
		*b.to = 0
		return nil
	}
	return b.quantityValue.Set(s)
}

func (b boundValue) String() string {
	if b.to == nil || *b.to == 0 {
		return "none"
	}
	return b.quantityValue.String()
}

// quotaFlags are what tenant quota changes.
type quotaFlags struct {
	api.Quota
	weight, band, jobs uint64
}

// named returns a number whose flag was given, otherwise nil.
func named[T uint8 | uint32 | uint64](fs *pflag.FlagSet, flag string, v uint64) *T {
	if !fs.Changed(flag) {
		return nil
	}
	n := T(v)
	return &n
}

func (q *quotaFlags) register(fs *pflag.FlagSet) {
	fs.Var(boundValue{fuelValue(&q.Fuel)}, "fuel", "fuel, reserved and used, for ever")
	fs.Var(boundValue{fuelValue(&q.FuelPerDay)}, "fuel-per-day", "fuel, reserved and used on one day, in UTC")
	fs.Var(boundValue{fuelValue(&q.FuelPerSecond)}, "fuel-per-second", "fuel per second of tasks that nodes have at the same time")
	fs.Var(boundValue{bytesValue(&q.MemoryBytes)}, "memory", "memory of tasks that nodes have at the same time")
	fs.Var(boundValue{countValue(&q.QueuedTasks)}, "queued-tasks", "tasks that wait")
	fs.Var(boundValue{countValue(&q.jobs)}, "jobs", "jobs that have not ended")
	fs.Var(boundValue{bytesValue(&q.StoredBytes)}, "stored", "results that are kept")
	fs.Var(boundValue{bytesValue(&q.EgressPerDay)}, "egress-per-day", "bytes exchanged with the world outside on one day, in UTC")
	fs.Uint64Var(&q.band, "band-max", 0, "highest priority band of its jobs, 0 to 7")
	fs.Uint64Var(&q.weight, "weight", 0, "its share beside other tenants, from 1")
}

// change has what flags were given for.
func (q *quotaFlags) change(fs *pflag.FlagSet) (to api.QuotaChange, err error) {
	for name, limit := range map[string][2]uint64{"band-max": {q.band, 7}, "weight": {q.weight, 1 << 20}, "jobs": {q.jobs, 1<<32 - 1}} {
		if limit[0] > limit[1] || name == "weight" && fs.Changed(name) && limit[0] == 0 {
			return to, usageError("--%s %d is out of range, at most %d", name, limit[0], limit[1])
		}
	}
	return api.QuotaChange{
		Weight: named[uint32](fs, "weight", q.weight), BandMax: named[uint8](fs, "band-max", q.band), Jobs: named[uint32](fs, "jobs", q.jobs),
		Fuel: named[uint64](fs, "fuel", q.Fuel), FuelPerDay: named[uint64](fs, "fuel-per-day", q.FuelPerDay),
		FuelPerSecond: named[uint64](fs, "fuel-per-second", q.FuelPerSecond), MemoryBytes: named[uint64](fs, "memory", q.MemoryBytes),
		QueuedTasks: named[uint64](fs, "queued-tasks", q.QueuedTasks), StoredBytes: named[uint64](fs, "stored", q.StoredBytes),
		EgressPerDay: named[uint64](fs, "egress-per-day", q.EgressPerDay),
	}, nil
}

func (a *app) tenantQuotaCommand() *cobra.Command {
	var q quotaFlags
	var cmd *cobra.Command
	cmd = a.gridCommand(&cobra.Command{
		Use: "quota TENANT", Short: "Bound what a tenant may hold, or say what bounds it",
		Long: "Changes the bounds that are named, and leaves the others as they are, or as another admin\n" +
			"changes them at the same time; none takes one away. What the tenant holds already stays.\n" +
			"Works on the machine of an admin's node. Without flags it shows the tenant, as show does.\n\n" +
			"  dugnad tenant quota acme --fuel-per-day 10T --queued-tasks 100000 --band-max 3",
		ValidArgsFunction: cobra.NoFileCompletions,
	}, func(ctx context.Context, g *grid, args []string) error {
		change, err := q.change(cmd.Flags())
		if err != nil {
			return err
		}
		var t api.Tenant
		if change == (api.QuotaChange{}) {
			t, err = g.client.Tenant(ctx, args[0])
		} else {
			t, err = g.client.ChangeQuota(ctx, args[0], change)
		}
		if err != nil {
			return err
		}
		return g.showTenant(&t)
	})
	q.register(cmd.Flags())
	return cmd
}

func (a *app) tenantAllowCommand() *cobra.Command {
	return a.capabilitiesCommand(&cobra.Command{
		Use: "allow TENANT CAPABILITY...", Short: "Let a tenant's jobs ask for more than computing",
		Long: "Gives a tenant capabilities; dugnad tenant deny takes them back. There is one, http: guests\n" +
			"may make HTTP requests, on nodes that were started with --allow-http. Works on the machine\n" +
			"of an admin's node.",
	}, func(names []string) api.CapabilitiesChange { return api.CapabilitiesChange{Allow: names} })
}

func (a *app) tenantDenyCommand() *cobra.Command {
	return a.capabilitiesCommand(&cobra.Command{
		Use: "deny TENANT CAPABILITY...", Short: "Take capabilities back that a tenant was allowed",
		Long: "Takes back what dugnad tenant allow has given. Guests that run make no further request. Works\n" +
			"on the machine of an admin's node.",
	}, func(names []string) api.CapabilitiesChange { return api.CapabilitiesChange{Deny: names} })
}

// capabilitiesCommand is a command on a tenant and some capabilities.
func (a *app) capabilitiesCommand(cmd *cobra.Command, change func(names []string) api.CapabilitiesChange) *cobra.Command {
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd = a.gridCommand(cmd, func(ctx context.Context, g *grid, args []string) error {
		t, err := g.client.ChangeCapabilities(ctx, args[0], change(args[1:]))
		if err != nil {
			return err
		}
		return g.showTenant(&t)
	})
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) < 2 {
			return usageError("whose, and which? %s", cmd.UseLine())
		}
		return nil
	}
	return cmd
}

func (a *app) tenantUsageCommand() *cobra.Command {
	q := client.UsageQuery{}
	cmd := a.oneTenant(&cobra.Command{
		Use: "usage [TENANT]", Short: "Say what a tenant has cost, by day, module or job",
		Long: "Says what a tenant has cost on days in UTC, from reports that nodes have signed; without a\n" +
			"name that of the token, or the one of jobs without a token. Jobs are told apart until they\n" +
			"are forgotten, days and modules for 400 days.\n\n" +
			"  dugnad tenant usage --by module --from 2026-11-01",
	}, func(ctx context.Context, g *grid, tenant string) error {
		q.Tenant = tenant
		out, err := g.usage(ctx, q)
		if err != nil {
			return err
		}
		if g.json {
			return g.writeJSON(out)
		}
		return g.printUsage(&out)
	})
	fs := cmd.Flags()
	fs.StringVar(&q.By, "by", api.UsageByDay, "what is told apart: `day`, module or job")
	fs.StringVar(&q.From, "from", "", "the first `day`, such as 2026-11-01 (default 30 days)")
	fs.StringVar(&q.To, "to", "", "the last `day` (default today)")
	return cmd
}

// usage reads all pages.
func (g *grid) usage(ctx context.Context, q client.UsageQuery) (out api.UsageReport, err error) {
	switch q.By {
	case api.UsageByDay, api.UsageByModule, api.UsageByJob:
	default:
		return out, usageError("--by: %q is none of day, module and job", q.By)
	}
	q.Limit = api.PageMax
	for first := true; ; first = false {
		r, err := g.client.Usage(ctx, q)
		if err != nil {
			return out, err
		}
		if first {
			out = r
		} else {
			out.Parts, out.Index = append(out.Parts, r.Parts...), r.Index
			out.Total.Fuel += r.Total.Fuel
			out.Total.MemoryByteSeconds += r.Total.MemoryByteSeconds
			out.Total.WallSeconds += r.Total.WallSeconds
			out.Total.EgressBytes += r.Total.EgressBytes
		}
		if q.After = r.Next; q.After == "" {
			out.Next = ""
			return out, nil
		}
	}
}

func (g *grid) printUsage(r *api.UsageReport) error {
	t := newTable(g.Out, strings.ToUpper(r.By), "FUEL", "MEMORY", "TIME", "EGRESS")
	row := func(name string, u *api.Usage) {
		t.row(name, fuelAmount(u.Fuel), byteSeconds(u.MemoryByteSeconds), seconds(u.WallSeconds), formatBytes(u.EgressBytes))
	}
	for i := range r.Parts {
		p := &r.Parts[i]
		name := p.Day + p.Job
		if r.By == api.UsageByModule {
			name = p.Module
		}
		row(name, &p.Usage)
	}
	row("total", &r.Total)
	if r.Unsigned != nil {
		row("not signed", r.Unsigned)
	}
	return t.flush()
}

// byteSeconds shows memory over time.
func byteSeconds(n uint64) string {
	return formatBytes(n) + "·s"
}
