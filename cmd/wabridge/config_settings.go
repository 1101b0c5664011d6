package main

import "strings"

// prefix is that of every environment variable of ours.
const prefix = "WABRIDGE"

// settings is the environment as envconfig reads it, and the one table that the
// help text and the check for misspelt names are made from: a field's name
// gives the variable's, its value in defaultSettings the default.
//
// Every type here decodes without fail, because envconfig stops at the first
// fault and prints the value of the variable; config.go looks at the values.
type settings struct {
	NATS struct {
		URL         text `desc:"servers, comma-separated: nats://, tls://, ws:// or wss://; may hold user:password"`
		URLFile     text `split_words:"true" desc:"file that holds the servers, in place of the above"`
		Creds       text `desc:"file with a user's JWT and nkey seed"`
		Context     text `desc:"a context of the nats command line: its name, or a file"`
		NKey        text `desc:"file with an nkey seed"`
		CA          text `desc:"file with the certificate authorities to trust"`
		Cert        text `desc:"file with the client's TLS certificate"`
		Key         text `desc:"file with the client's TLS key"`
		InboxPrefix text `split_words:"true" desc:"prefix of reply subjects, where the account allows no other"`
	}
	JSDomain       text `split_words:"true" desc:"JetStream domain"`
	SubjectPrefix  text `split_words:"true" desc:"first token of every subject; stream and bucket names follow it"`
	StreamReplicas text `split_words:"true" desc:"copies of each stream and bucket; 0: one on a single server, three on a cluster"`
	ManageStreams  text `split_words:"true" desc:"create the streams and buckets that are missing; off: check only"`
	Shards         text `desc:"number of shards, fixed when the stream of commands is created; 0: what it has, 32 for a new one"`

	Sessions text `desc:"ids of the sessions defined here, comma-separated; more may be defined in the sessions bucket"`

	WebhookAddr    text `split_words:"true" desc:"address that takes the Cloud API's webhooks, on /webhook; empty or off: none"`
	WebhookTLSCert text `split_words:"true" desc:"file with the webhook listener's certificate; empty: plain HTTP, behind a proxy"`
	WebhookTLSKey  text `split_words:"true" desc:"file with its key"`
	GraphURL       text `split_words:"true" desc:"base address of the Graph API"`
	GraphVersion   text `split_words:"true" desc:"version of the Graph API"`
	Media          text `desc:"fetch and store the media that users send; off: messages keep the platform's media ids"`

	AdminAddr       text   `split_words:"true" desc:"address of /livez, /readyz and /metrics; off: none"`
	AdminPprof      text   `split_words:"true" desc:"serve /debug/pprof/ on that address too, for go tool pprof"`
	Control         text   `desc:"answer as the NATS micro service wabridge: status, pause, resume, redrive, send; off: do not"`
	LogLevel        text   `split_words:"true" desc:"debug, info, warn or error"`
	LogFormat       text   `split_words:"true" desc:"json or text"`
	TokenKey        secret `split_words:"true" desc:"key that encrypts refresh tokens in the tokens bucket"`
	TokenKeyFile    text   `split_words:"true" desc:"file that holds that key"`
	ReplicaID       text   `split_words:"true" desc:"name of this replica, stable across its restarts; empty: the host's name"`
	ShutdownTimeout text   `split_words:"true" desc:"how long a shutdown may take"`
	AllowInsecure   text   `split_words:"true" desc:"allow ws:// and http:// to platforms on other hosts than this one"`
}

func defaultSettings() *settings {
	s := &settings{
		SubjectPrefix:   "wa",
		StreamReplicas:  "0",
		ManageStreams:   "on",
		Shards:          "0",
		GraphURL:        "https://graph.facebook.com",
		GraphVersion:    "v26.0",
		Media:           "on",
		AdminAddr:       "127.0.0.1:8088",
		AdminPprof:      "off",
		Control:         "on",
		LogLevel:        "info",
		LogFormat:       "json",
		ShutdownTimeout: "25s",
		AllowInsecure:   "off",
	}
	s.NATS.URL = "nats://127.0.0.1:4222"
	return s
}

// sessionSettings is the environment of one session, under
// WABRIDGE_SESSION_<ID>_.
type sessionSettings struct {
	Platform         text   `desc:"chatapi or cloudapi"`
	URL              text   `desc:"chatapi: address of the WebSocket, wss://…; {session} in it is filled in"`
	TokenURL         text   `split_words:"true" desc:"OAuth 2.0 token endpoint"`
	ClientID         text   `split_words:"true" desc:"OAuth 2.0 client"`
	ClientSecret     secret `split_words:"true" desc:"its secret"`
	ClientSecretFile text   `split_words:"true" desc:"file that holds it"`
	RefreshToken     secret `split_words:"true" desc:"first refresh token, for the refresh-token grant; stored: is that of wabridge login --store"`
	RefreshTokenFile text   `split_words:"true" desc:"file that holds it"`
	Scopes           text   `desc:"scopes to ask for, separated by commas or spaces"`
	Token            secret `desc:"access token that is given, not fetched"`
	TokenFile        text   `split_words:"true" desc:"file that holds it; read again when it changes"`
	PhoneNumberID    text   `split_words:"true" desc:"cloudapi: id of the business's phone number"`
	WABA             struct {
		ID text `desc:"cloudapi: id of the WhatsApp Business Account"`
	}
	AppID                 text   `split_words:"true" desc:"cloudapi: id of the app"`
	AppSecret             secret `split_words:"true" desc:"cloudapi: the app's secret; it signs webhooks"`
	AppSecretFile         text   `split_words:"true" desc:"file that holds it"`
	PreviousAppSecret     secret `split_words:"true" desc:"cloudapi: the secret before it, while both are in use"`
	PreviousAppSecretFile text   `split_words:"true" desc:"file that holds it"`
	VerifyToken           secret `split_words:"true" desc:"cloudapi: the word that Meta repeats when it verifies the webhook"`
	VerifyTokenFile       text   `split_words:"true" desc:"file that holds it"`
	Unknown               text   `desc:"cloudapi: what follows an unanswered send: report, or resend (may double)"`
}

// sessionPrefix is that of the variables of one session: a dash in its id is an
// underscore.
func sessionPrefix(id string) string {
	return prefix + "_SESSION_" + strings.ToUpper(strings.ReplaceAll(id, "-", "_"))
}

// text is a value; set but empty means not set, so a default stays.
type text string

// Decode never fails; see settings.
func (t *text) Decode(value string) error {
	if value = strings.TrimSpace(value); value != "" {
		*t = text(value)
	}
	return nil
}

// secret says whether a secret is set. The secret itself is not kept: whoever
// needs it reads it by reference.
type secret bool

// Decode never fails and keeps nothing of value.
func (s *secret) Decode(value string) error {
	*s = strings.TrimSpace(value) != ""
	return nil
}
