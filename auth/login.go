package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
)

// ErrNobody says that nobody logged in as long as there was time for it.
var ErrNobody = errors.New("nobody logged in")

// longestPoll bounds, in seconds, what a server may have us wait between two
// questions whether somebody has entered the device code.
const longestPoll = 300

// usualPoll is that wait where the server names none (RFC 8628, section 3.2).
const usualPoll = 5

// Grant is what a person's login brought. It prints as its access token does.
type Grant struct {
	Token
	// RefreshToken gets further access tokens; empty where the server gave none.
	RefreshToken string
}

// LoginConfig says how a person logs in. A program on a person's machine is
// often a public client: one without a secret.
type LoginConfig struct {
	Config
	// AuthURL is the authorization endpoint, for LoginCode.
	AuthURL string
	// DeviceURL is the device authorization endpoint, for LoginDevice.
	DeviceURL string
}

// flow checks the configuration and the endpoint that a login needs.
func (c LoginConfig) flow(name, endpoint string) (*Config, *oauth2.Config, error) {
	p, err := c.prepared()
	u, urlErr := url.Parse(endpoint)
	switch {
	case endpoint == "" || urlErr != nil || u.Host == "" || u.User != nil:
		err = errors.Join(err, fmt.Errorf("%s: want a full address", name))
	case u.Scheme != "https" && (u.Scheme != "http" || !c.AllowInsecure && !Loopback(u.Hostname())):
		err = errors.Join(err, fmt.Errorf("%s: must be https (http only to a loopback address)", name))
	}
	if err != nil {
		return nil, nil, err
	}
	style := p.style()
	if p.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	return p, &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Scopes: p.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: c.AuthURL, TokenURL: p.TokenURL, DeviceAuthURL: c.DeviceURL, AuthStyle: style},
	}, nil
}

// LoginCode gets a token by an authorization code with PKCE: a person opens the
// address that show is called with, and the server sends their browser back to
// listener, which must be on a loopback address. It blocks until that happened
// or ctx ends (ErrNobody), and closes listener.
func LoginCode(ctx context.Context, c LoginConfig, listener net.Listener, show func(address string)) (Grant, error) {
	p, conf, err := c.flow("authorization URL", c.AuthURL)
	if err != nil {
		return Grant{}, errors.Join(err, listener.Close())
	}
	conf.RedirectURL = "http://" + listener.Addr().String() + callbackPath
	back := &callback{state: rand.Text(), codes: make(chan callbackResult, 1)}
	server := &http.Server{Handler: back, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	verifier := oauth2.GenerateVerifier()
	show(conf.AuthCodeURL(back.state, oauth2.S256ChallengeOption(verifier)))
	var result callbackResult
	select {
	case result = <-back.codes:
	case err := <-served:
		return Grant{}, fmt.Errorf("waiting for the browser: %w", err)
	case <-ctx.Done():
		result.err = fmt.Errorf("%w: %w", ErrNobody, ctx.Err())
	}
	// The browser gets its page before the door closes.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		result.err = errors.Join(result.err, server.Close())
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		result.err = errors.Join(result.err, err)
	}
	if result.err != nil {
		return Grant{}, result.err
	}
	now := time.Now()
	token, err := conf.Exchange(p.with(ctx), result.code, oauth2.VerifierOption(verifier))
	return p.grant(token, now, err)
}

// LoginDevice gets a token by a device code: a person opens the page that show
// is called with, on any device, and enters the code; complete is an address
// that holds the code already, or empty. It blocks until that happened, or the
// code or ctx ends (ErrNobody).
func LoginDevice(ctx context.Context, c LoginConfig, show func(page, code, complete string)) (Grant, error) {
	p, conf, err := c.flow("device authorization URL", c.DeviceURL)
	if err != nil {
		return Grant{}, err
	}
	var credentials []oauth2.AuthCodeOption
	if p.ClientSecret != "" { // the library sends it to the token endpoint alone
		credentials = append(credentials, oauth2.SetAuthURLParam("client_secret", p.ClientSecret))
	}
	device, err := conf.DeviceAuth(p.with(ctx), credentials...)
	if err != nil {
		return Grant{}, scrub(err)
	}
	// The library panics at an interval that is negative, or overflows.
	device.Interval = min(device.Interval, longestPoll)
	if device.Interval <= 0 {
		device.Interval = usualPoll
	}
	show(device.VerificationURI, device.UserCode, device.VerificationURIComplete)
	now := time.Now()
	token, err := conf.DeviceAccessToken(p.with(ctx), device)
	for ctx.Err() == nil && passes(err) && (device.Expiry.IsZero() || time.Now().Before(device.Expiry)) {
		device.Interval = min(2*device.Interval, longestPoll) // RFC 8628, section 3.5
		token, err = conf.DeviceAccessToken(p.with(ctx), device)
	}
	if err != nil {
		answer, answered := errors.AsType[*oauth2.RetrieveError](err)
		switch {
		case ctx.Err() != nil:
			return Grant{}, fmt.Errorf("%w: %w", ErrNobody, ctx.Err())
		case answered && answer.ErrorCode == "expired_token",
			!answered && !device.Expiry.IsZero() && !time.Now().Before(device.Expiry):
			return Grant{}, fmt.Errorf("%w before the code ended", ErrNobody)
		}
	}
	return p.grant(token, now, err)
}

// passes reports whether an error of a poll says nothing of the login: nobody
// answered, or the server was at fault.
func passes(err error) bool {
	class := scrub(err)
	return err != nil && !errors.Is(class, ErrRefused) && !errors.Is(class, ErrForbidden)
}

// grant reads the answer of a token endpoint.
func (c *Config) grant(t *oauth2.Token, now time.Time, err error) (Grant, error) {
	if err != nil {
		return Grant{}, scrub(err)
	}
	token, err := c.token(t, now)
	return Grant{Token: token, RefreshToken: t.RefreshToken}, err
}

// callbackPath is where the server sends the browser back to.
const callbackPath = "/callback"

// callback takes the one answer that bears our state.
type callback struct {
	state string
	codes chan callbackResult
}

type callbackResult struct {
	code string
	err  error
}

// ServeHTTP implements http.Handler. What does not know the state is somebody
// else's: it is refused and the wait goes on.
func (b *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	query := r.URL.Query()
	if r.Method != http.MethodGet || r.URL.Path != callbackPath ||
		subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(b.state)) != 1 {
		w.WriteHeader(http.StatusBadRequest)
		page(w, "This is not the answer to the login that waits here.")
		return
	}
	result := callbackResult{code: query.Get("code")}
	text := "Logged in. You can close this page."
	switch refusal := query.Get("error"); {
	case refusal != "":
		result.err = fmt.Errorf("the server refused the login: %s: %w", word(refusal), ErrForbidden)
		text = "The login was refused: " + word(refusal)
	case result.code == "":
		result.err = errors.New("the server sent the browser back without a code")
		text = "There is no code in this address."
	}
	select {
	case b.codes <- result:
	default:
		text = "This login is over."
	}
	page(w, text)
}

// page answers a browser; one that has left is nobody's trouble.
func page(w http.ResponseWriter, text string) {
	_, _ = fmt.Fprintf(w, "<!doctype html><title>wabridge</title><p>%s</p>\n", html.EscapeString(text))
}

// word is the error code of an answer, or what stands for one that is none
// (RFC 6749, section 4.1.2.1): it is printed on a terminal.
func word(code string) string {
	if len(code) > 64 {
		return "unknown error"
	}
	for _, r := range code {
		if (r < 'a' || r > 'z') && r != '_' {
			return "unknown error"
		}
	}
	return code
}
