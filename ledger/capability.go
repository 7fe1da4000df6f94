package ledger

// Capabilities are what a tenant's jobs may ask for beyond computing: a set of bits,
// which are stored.
type Capabilities uint32

// CapabilityHTTP: guests may make HTTP requests.
const CapabilityHTTP Capabilities = 1 << 0

const capabilitiesAll = CapabilityHTTP

// FeatureHTTP is the feature of nodes whose operators let guests make HTTP requests,
// and of jobs whose guests want to. A tenant's jobs may ask for it with CapabilityHTTP.
const FeatureHTTP = "http"

// capabilityTable lists the features that need a capability, which goes by the same
// name.
var capabilityTable = []struct {
	feature string
	needs   Capabilities
}{
	{FeatureHTTP, CapabilityHTTP},
}

// ParseCapability returns the capability of a name, 0 when there is none.
func ParseCapability(name string) Capabilities {
	for _, c := range capabilityTable {
		if c.feature == name {
			return c.needs
		}
	}
	return 0
}

// Names lists the capabilities by name.
func (c Capabilities) Names() (names []string) {
	for _, row := range capabilityTable {
		if c&row.needs != 0 {
			names = append(names, row.feature)
		}
	}
	return names
}

func (*SetCapabilities) kind() uint8 { return kindSetCapabilities }

func (c *SetCapabilities) fields(w *wire) {
	text(w, &c.Tenant)
	w.u32((*uint32)(&c.Add))
	w.u32((*uint32)(&c.Remove))
}

func (c *SetCapabilities) apply(s *session) Result {
	switch both := c.Add | c.Remove; {
	case !validTenant(c.Tenant):
		return refuse(CodeInvalid, "tenant")
	case both&^capabilitiesAll != 0:
		return outside("capabilities", uint64(both), 0, uint64(capabilitiesAll))
	case c.Add&c.Remove != 0:
		return refuse(CodeInvalid, "capabilities that are both added and removed")
	}
	t := s.tenant(c.Tenant)
	if t == nil {
		return refuse(CodeTenantUnknown, string(c.Tenant))
	}
	t.Capabilities = t.Capabilities&^c.Remove | c.Add
	return Result{}
}

// permit refuses a spec that asks for what the tenant may not have.
func (t *Tenant) permit(spec *JobSpec) Result {
	for _, f := range spec.Features {
		if needs := ParseCapability(f); needs&^t.Capabilities != 0 {
			return refuse(CodeCapability, f)
		}
	}
	return Result{}
}
