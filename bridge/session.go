package bridge

import (
	"time"

	"wabridge/codec"
)

// The platforms that a session can be on.
const (
	PlatformChatAPI  = "chatapi"
	PlatformCloudAPI = "cloudapi"
)

// State is where a session stands.
type State string

// The states of a session. Disconnected means that it is retrying;
// unauthorized, that its token was refused and it tries again slowly;
// forbidden, that it waits for someone to resume it; paused, that someone
// paused it; replaced, that a newer connection took its place.
const (
	Connecting   State = "connecting"
	Connected    State = "connected"
	Disconnected State = "disconnected"
	Unauthorized State = "unauthorized"
	Forbidden    State = "forbidden"
	Paused       State = "paused"
	Replaced     State = "replaced"
	Stopped      State = "stopped"
)

// States lists every state, for metrics that create their label values up front.
func States() []State {
	return []State{Connecting, Connected, Disconnected, Unauthorized, Forbidden, Paused, Replaced, Stopped}
}

// Policy says what follows a send that was written and never answered, on a
// platform without an idempotency key.
type Policy string

// The policies: report ends the command as unknown and never doubles; resend
// sends it again and may.
const (
	Report Policy = "report"
	Resend Policy = "resend"
)

// SecretRef refers to a secret: "env:NAME", "file:/path", or "value:…" where
// the process holds it itself (never accepted from KV wa_sessions). It prints
// as its scheme alone.
type SecretRef string

// String hides what a value: reference holds.
func (s SecretRef) String() string {
	if len(s) >= 6 && s[:6] == "value:" {
		return "value:[hidden]"
	}
	return string(s)
}

// GoString hides the same from %#v.
func (s SecretRef) GoString() string { return s.String() }

// Definition says what a session is and how to reach it. Which fields are
// needed depends on Platform; the platform's own New reports every fault at
// once.
type Definition struct {
	ID       string `json:"id,omitempty"`
	Platform string `json:"platform,omitempty"`

	// URL of the Chat API; "{session}" in it is filled in.
	URL          string    `json:"url,omitempty"`
	TokenURL     string    `json:"token_url,omitempty"`
	ClientID     string    `json:"client_id,omitempty"`
	ClientSecret SecretRef `json:"client_secret,omitempty"`
	// RefreshToken selects the refresh-token grant instead of client credentials.
	RefreshToken SecretRef `json:"refresh_token,omitempty"`
	// Token is an access token that is given, not fetched.
	Token  SecretRef `json:"token,omitempty"`
	Scopes []string  `json:"scopes,omitempty"`

	// The rest is for the Cloud API.
	PhoneNumberID string    `json:"phone_number_id,omitempty"`
	WABAID        string    `json:"waba_id,omitempty"`
	AppID         string    `json:"app_id,omitempty"`
	AppSecret     SecretRef `json:"app_secret,omitempty"`
	// PreviousAppSecret still verifies webhooks while a secret is rotated.
	PreviousAppSecret SecretRef `json:"previous_app_secret,omitempty"`
	VerifyToken       SecretRef `json:"verify_token,omitempty"`
	// Unknown is the policy for unanswered sends; empty means report.
	Unknown Policy `json:"unknown,omitempty"`
	// Paused keeps the session from connecting until it is resumed.
	Paused bool `json:"paused,omitempty"`
	// Resumed is when someone last resumed it: a change of it begins the session
	// again, whatever it waited for.
	Resumed string `json:"resumed,omitempty"`
	// Fault is what is wrong with a definition that cannot be used: its session
	// stands still, and its commands wait. It is not part of what is stored.
	Fault string `json:"-"`
}

// Change is one change of a session's state. Reason is for people: it holds no
// secret, phone number or message text.
type Change struct {
	State  State
	Reason string
	Class  codec.Class
	At     time.Time
}
