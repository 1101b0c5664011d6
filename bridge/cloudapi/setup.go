package cloudapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wabridge/auth"
)

// Exchange turns the code of an Embedded Signup into a token. The code works
// once and for seconds only: an exchange that failed is not tried again. The
// Graph client needs app id and secret, and no token.
func (g *Graph) Exchange(ctx context.Context, code string) (auth.Token, error) {
	if g.appID == "" || g.appSecret == "" || code == "" {
		return auth.Token{}, errors.New("exchanging a code: want app id, app secret and the code")
	}
	query := url.Values{"client_id": {g.appID}, "client_secret": {g.appSecret}, "code": {code}}
	var made struct {
		Token   string `json:"access_token"`
		Seconds int64  `json:"expires_in"`
	}
	if err := g.callWith(ctx, "", http.MethodGet, "oauth/access_token", query, nil, &made); err != nil {
		return auth.Token{}, fmt.Errorf("exchanging a code: %w", err)
	}
	if made.Token == "" {
		return auth.Token{}, errors.New("exchanging a code: Graph answered without a token")
	}
	token := auth.Token{AccessToken: made.Token}
	if made.Seconds > 0 {
		token.Expiry = time.Now().Add(time.Duration(made.Seconds) * time.Second)
	}
	return token, nil
}

// Register registers a number for the Cloud API. The PIN is the number's
// two-step verification: six digits, set by this call where there was none.
func (g *Graph) Register(ctx context.Context, phoneNumberID, pin string) error {
	if !validID(phoneNumberID) {
		return errors.New("registering a number: want Meta's phone number id")
	}
	if len(pin) != 6 || strings.Trim(pin, "0123456789") != "" {
		return errors.New("registering a number: want a PIN of six digits")
	}
	in := map[string]string{"messaging_product": "whatsapp", "pin": pin}
	if err := g.call(ctx, http.MethodPost, phoneNumberID+"/register", nil, in, nil); err != nil {
		return fmt.Errorf("registering a number: %w", err)
	}
	return nil
}

// Finding is one line of a check.
type Finding struct {
	What string // that was looked at
	OK   bool
	// Detail says what was found, and what to do where it is not OK.
	Detail string
}

// Check looks at everything that a session needs on Meta's side: the token, its
// scopes, its access to the account, the subscription to webhooks, the number.
func (g *Graph) Check(ctx context.Context, phoneNumberID, wabaID string) []Finding {
	findings := g.checkToken(ctx, wabaID)
	if wabaID != "" {
		findings = append(findings, g.checkSubscription(ctx, wabaID))
	}
	return append(findings, g.checkNumber(ctx, phoneNumberID))
}

func (g *Graph) checkToken(ctx context.Context, wabaID string) []Finding {
	if g.token == nil {
		return []Finding{{What: "token", Detail: "none is configured"}}
	}
	token, err := g.token.Token(ctx)
	if err != nil {
		return []Finding{{What: "token", Detail: tokenError(err).Error()}}
	}
	found, err := g.inspect(ctx, token.AccessToken)
	if err != nil {
		return []Finding{{What: "token", Detail: err.Error()}}
	}
	if !found.Valid {
		return []Finding{{What: "token", Detail: judge(found, wabaID).reason + ": make a new one for the system user"}}
	}
	valid := Finding{What: "token", OK: true, Detail: "valid, without an end"}
	if found.Expires > 0 {
		valid.Detail = "valid until " + time.Unix(found.Expires, 0).UTC().Format(time.RFC3339)
	}
	findings := []Finding{valid}
	for _, scope := range []string{ScopeMessaging, ScopeManagement} {
		f := Finding{What: "scope " + scope, OK: true, Detail: "granted"}
		switch {
		case !found.reaches(scope, ""):
			f.OK, f.Detail = false, "missing: make a token with it"
		case !found.reaches(scope, wabaID):
			f.OK, f.Detail = false, "granted, but not for this WhatsApp Business account: assign the account to the system user"
		}
		findings = append(findings, f)
	}
	return findings
}

func (g *Graph) checkSubscription(ctx context.Context, wabaID string) Finding {
	f := Finding{What: "webhook subscription"}
	var said struct {
		Data []struct {
			App struct {
				ID string `json:"id"`
			} `json:"whatsapp_business_api_data"`
		} `json:"data"`
	}
	if err := g.call(ctx, http.MethodGet, wabaID+"/subscribed_apps", nil, nil, &said); err != nil {
		f.Detail = err.Error()
		return f
	}
	for _, subscribed := range said.Data {
		if g.appID == "" || subscribed.App.ID == g.appID {
			f.OK, f.Detail = true, "the app is subscribed to the account"
			return f
		}
	}
	f.Detail = "the app is not subscribed to the account; the bridge subscribes it when the session starts"
	return f
}

func (g *Graph) checkNumber(ctx context.Context, phoneNumberID string) Finding {
	f := Finding{What: "phone number"}
	if !validID(phoneNumberID) {
		f.Detail = "want Meta's id of the number, not the number"
		return f
	}
	var number phoneNumber
	err := g.call(ctx, http.MethodGet, phoneNumberID, url.Values{"fields": {phoneFields}}, nil, &number)
	switch {
	case err != nil:
		f.Detail = err.Error()
	case number.Platform != "" && number.Platform != "CLOUD_API":
		f.Detail = "not on the Cloud API: register it with its PIN"
	case number.Status != "" && number.Status != "CONNECTED":
		f.Detail = "status " + number.Status + ": register it with its PIN, or see WhatsApp Manager"
	default:
		f.OK = true
		f.Detail = fmt.Sprintf("connected, %g messages/s", number.limits().PerSecond)
		if number.Quality != "" {
			f.Detail += ", quality " + number.Quality
		}
	}
	return f
}
