package p2p

import "time"

// Limits that members share, or that bound what one of them can make another
// one keep. What an operator may choose is in Config.
const (
	// NameBytesMax bounds a member's name.
	NameBytesMax = 64
	// ContactsMax bounds the members that an invitation names, ContactAddressesMax
	// the addresses of each.
	ContactsMax         = 4
	ContactAddressesMax = 4
	// AddressesMax bounds the addresses that are kept for a member.
	AddressesMax = 16
	// AddressBytesMax bounds one multiaddr in its binary form.
	AddressBytesMax = 128
	// AddressTextMax bounds what Host.Address returns, in bytes.
	AddressTextMax = 1024

	// UsesMax bounds how often an invitation may be redeemed.
	UsesMax = 65535
	// InvitationLifeMax bounds how long an invitation is good for.
	InvitationLifeMax = 366 * 24 * time.Hour
	// ClockSkewMax is how far the clocks of two members may differ before one
	// of them takes what the other signed to be from the future.
	ClockSkewMax = 5 * time.Minute
	// ExpulsionsMax bounds the expulsions that admins have signed, and again
	// those that the grid's key has signed.
	ExpulsionsMax = 2048
	// ExpulsionAdminsMax bounds the admins that have signed an expulsion.
	ExpulsionAdminsMax = 256
	// RedemptionsMax bounds the redemptions that one authority remembers.
	RedemptionsMax = 1 << 20

	// membershipBytesMax, invitationBytesMax and expulsionsBytesMax bound
	// encodings; recordBytesMax a signed peer record.
	membershipBytesMax = 512
	invitationBytesMax = 2048
	expulsionsBytesMax = 512 << 10
	recordBytesMax     = 2304
	// streamSlack is how many times as many streams a node accepts as it would open.
	streamSlack = 4
	// refusalTextMax bounds the sentence that goes with a refusal.
	refusalTextMax = 512
	// helloBytesMax bounds one frame of the hello.
	helloBytesMax = 4096

	// timeMax is the last second that an encoding may name, 34,000 years from
	// now: arithmetic on it does not overflow.
	timeMax = 1 << 40
)
