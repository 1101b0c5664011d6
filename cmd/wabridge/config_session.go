package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/kelseyhightower/envconfig"

	"wabridge/bridge"
)

// sessionIDs checks WABRIDGE_SESSIONS and gives the ids that are good, each once.
func (f *faults) sessionIDs(list text) []string {
	var ids []string
	for id := range strings.SplitSeq(string(list), ",") {
		id = strings.TrimSpace(id)
		switch {
		case id == "":
		case !bridge.ValidID(id):
			f.add("SESSIONS", "want ids of 1 to 64 letters, digits, _ or -, with commas between")
		case slices.Contains(ids, id):
			f.add("SESSIONS", "names session %s twice", id)
		default:
			ids = append(ids, id)
		}
	}
	return ids
}

// session reads the variables of one session into its definition, and gives
// their names.
func (f *faults) session(id string, webhooks bool) (bridge.Definition, []string, error) {
	under := sessionPrefix(id)
	names, err := knownNames(sessionVariables(under))
	if err != nil {
		return bridge.Definition{}, nil, err
	}
	var s sessionSettings
	// Its error would quote a value; no type of sessionSettings can fail.
	if envconfig.Process(under, &s) != nil {
		return bridge.Definition{}, nil, errors.New("reading the environment of a session failed")
	}
	at := func(name string) string { return strings.TrimPrefix(under, prefix+"_") + "_" + name }
	d := bridge.Definition{
		ID:                id,
		Platform:          strings.ToLower(string(s.Platform)),
		URL:               f.url(at("URL"), s.URL, "wss", "ws"),
		TokenURL:          f.url(at("TOKEN_URL"), s.TokenURL, "https", "http"),
		ClientID:          string(s.ClientID),
		ClientSecret:      f.secret(at("CLIENT_SECRET"), s.ClientSecret, s.ClientSecretFile),
		RefreshToken:      f.secret(at("REFRESH_TOKEN"), s.RefreshToken, s.RefreshTokenFile),
		Token:             f.secret(at("TOKEN"), s.Token, s.TokenFile),
		Scopes:            strings.FieldsFunc(string(s.Scopes), func(r rune) bool { return r == ',' || r == ' ' }),
		PhoneNumberID:     f.digits(at("PHONE_NUMBER_ID"), s.PhoneNumberID),
		WABAID:            f.digits(at("WABA_ID"), s.WABA.ID),
		AppID:             f.digits(at("APP_ID"), s.AppID),
		AppSecret:         f.secret(at("APP_SECRET"), s.AppSecret, s.AppSecretFile),
		PreviousAppSecret: f.secret(at("PREVIOUS_APP_SECRET"), s.PreviousAppSecret, s.PreviousAppSecretFile),
		VerifyToken:       f.secret(at("VERIFY_TOKEN"), s.VerifyToken, s.VerifyTokenFile),
		Unknown:           bridge.Policy(strings.ToLower(string(s.Unknown))),
	}
	f.complete(at, &d, webhooks)
	return d, names, nil
}

// complete reports what the session's platform needs and is not set.
func (f *faults) complete(at func(string) string, d *bridge.Definition, webhooks bool) {
	need := func(name string, there bool) {
		if !there {
			f.add(at(name), "is missing; session %s needs it", d.ID)
		}
	}
	switch d.Platform {
	case bridge.PlatformChatAPI:
		need("URL", d.URL != "")
		if d.Token != "" {
			break
		}
		need("TOKEN_URL", d.TokenURL != "")
		need("CLIENT_ID", d.ClientID != "")
		need("CLIENT_SECRET", d.ClientSecret != "" || d.RefreshToken != "")
	case bridge.PlatformCloudAPI:
		need("PHONE_NUMBER_ID", d.PhoneNumberID != "")
		need("TOKEN", d.Token != "")
		need("APP_SECRET", d.AppSecret != "" || !webhooks)
		need("VERIFY_TOKEN", d.VerifyToken != "" || !webhooks)
	case "":
		need("PLATFORM", false)
	default:
		f.add(at("PLATFORM"), "want %s or %s", bridge.PlatformChatAPI, bridge.PlatformCloudAPI)
	}
	if d.Unknown != "" && d.Unknown != bridge.Report && d.Unknown != bridge.Resend {
		f.add(at("UNKNOWN"), "want %s or %s", bridge.Report, bridge.Resend)
	}
}

// distinct reports where two sessions would read the same variables: "a-b" and
// "a_b" do, and so do "a" (…_A_TOKEN_URL) and "a_token" (…_A_TOKEN_URL).
func (f *faults) distinct(owner map[string]string, id string, names []string) {
	for _, n := range names {
		if other, taken := owner[n]; taken {
			f.add("SESSIONS", "sessions %s and %s both read %s: rename one of them", other, id, n)
			return
		}
		owner[n] = id
	}
}

func (f *faults) digits(name string, value text) string {
	if strings.Trim(string(value), "0123456789") != "" {
		f.add(name, "want digits alone")
	}
	return string(value)
}
