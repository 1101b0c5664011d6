package codec

// Class is what a send came to. The set is closed: outcomes, retries, metrics
// and spans all read this one value.
type Class uint8

// The classes.
const (
	// Accepted: the platform took it.
	Accepted Class = iota + 1
	// Invalid: the command itself is wrong; it was not sent.
	Invalid
	// Permanent: the platform refuses it and always will.
	Permanent
	// Throttled: a rate limit; it can be sent later.
	Throttled
	// Transient: it never left, or the platform says to try again.
	Transient
	// Unauthorized: the token was refused.
	Unauthorized
	// Denied: the account or its permission does not allow it; "forbidden" on
	// the wire.
	Denied
	// Expired: its deadline passed before it was written.
	Expired
	// Unknown: written and not answered.
	Unknown
)

// String is the class's word on the wire: "accepted", "invalid", "permanent",
// "throttled", "transient", "unauthorized", "forbidden", "expired", "unknown";
// "" for what is no class.
func (c Class) String() string {
	switch c {
	case Accepted:
		return "accepted"
	case Invalid:
		return "invalid"
	case Permanent:
		return "permanent"
	case Throttled:
		return "throttled"
	case Transient:
		return "transient"
	case Unauthorized:
		return "unauthorized"
	case Denied:
		return "forbidden"
	case Expired:
		return "expired"
	case Unknown:
		return "unknown"
	}
	return ""
}

// Classes lists every class, for metrics that create their label values up front.
func Classes() []Class {
	return []Class{Accepted, Invalid, Permanent, Throttled, Transient, Unauthorized, Denied, Expired, Unknown}
}

// parseClass reads a class's word; 0 where it is none.
func parseClass(word string) Class {
	for _, c := range Classes() {
		if c.String() == word {
			return c
		}
	}
	return 0
}

// Scope is how far a rule reaches.
type Scope uint8

// The scopes, each wider than the one before.
const (
	ScopeMessage Scope = iota // this command alone
	ScopeLane                 // its conversation
	ScopeSession              // its phone number
	ScopeApp                  // every session of its app
)

// String is the scope's word: "message", "lane", "session" or "app"; "" for what
// is no scope.
func (s Scope) String() string {
	switch s {
	case ScopeMessage:
		return "message"
	case ScopeLane:
		return "lane"
	case ScopeSession:
		return "session"
	case ScopeApp:
		return "app"
	}
	return ""
}
