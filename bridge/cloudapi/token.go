package cloudapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

// The scopes that a token needs: one to send and receive messages, the other
// for every other webhook.
const (
	ScopeMessaging  = "whatsapp_business_messaging"
	ScopeManagement = "whatsapp_business_management"
)

// expirySoon is when a session starts to say that its token ends.
const expirySoon = 7 * 24 * time.Hour

// A check is three waits, each of which may be for nothing: for Graph to inspect
// the token, for the result to be stored, and for Graph to say what else there is
// to know of the number. Together they are bounded by half a minute.
const (
	inspectTimeout = 10 * time.Second
	eventTimeout   = 10 * time.Second
	numberTimeout  = 10 * time.Second
)

// Inspection is what Graph says about a token.
type Inspection struct {
	AppID     string        `json:"app_id,omitempty"`
	Type      string        `json:"type,omitempty"`
	Valid     bool          `json:"is_valid"`
	Expires   int64         `json:"expires_at"` // unix seconds; 0 is never
	DataUntil int64         `json:"data_access_expires_at,omitempty"`
	Scopes    []string      `json:"scopes"`
	Granular  []granted     `json:"granular_scopes,omitempty"`
	Error     *inspectFault `json:"error,omitempty"`
}

// granted is a scope and the accounts it reaches; none listed means all.
type granted struct {
	Scope   string   `json:"scope"`
	Targets []string `json:"target_ids"`
}

// inspectFault is why a token is not valid; Meta's prose is left out.
type inspectFault struct {
	Code    int `json:"code"`
	Subcode int `json:"subcode"`
}

// reaches reports whether scope was granted, and for account.
func (i *Inspection) reaches(scope, account string) bool {
	if !slices.Contains(i.Scopes, scope) {
		return false
	}
	for _, g := range i.Granular {
		if g.Scope == scope && len(g.Targets) > 0 && account != "" {
			return slices.Contains(g.Targets, account)
		}
	}
	return true
}

// inspect asks Graph about token, in the app's name where its secret is known,
// else in the token's own.
func (g *Graph) inspect(ctx context.Context, token string) (*Inspection, error) {
	bearer := token
	if g.appID != "" && g.appSecret != "" {
		bearer = g.appID + "|" + g.appSecret
	}
	var said struct {
		Data *Inspection `json:"data"`
	}
	err := g.callWith(ctx, bearer, http.MethodGet, "debug_token", url.Values{"input_token": {token}}, nil, &said)
	if err != nil {
		return nil, fmt.Errorf("inspecting the token: %w", err)
	}
	if said.Data == nil {
		return nil, errors.New("inspecting the token: Graph's answer has no data")
	}
	return said.Data, nil
}

// verdict is what a check came to.
type verdict struct {
	state  bridge.State
	class  codec.Class
	reason string
}

// verify finds a token that Graph takes, subscribes the app to the account and
// reads the number's limits. A token equal to refused is not asked about: Graph
// refused it in a send just now. One that is refused is replaced once, where the
// source has another; where it has not, stale is set.
func (s *Session) verify(ctx context.Context, refused string) verdict {
	// After a silent cut every idle connection leads nowhere, and each would cost
	// a call its whole time.
	s.graph.Close()
	s.stale, s.partly = "", false
	v := verdict{bridge.Unauthorized, codec.Unauthorized, "Graph refuses the token, and there is no other"}
	for range 2 {
		token, err := s.graph.token.Token(ctx)
		if err != nil {
			return tokenVerdict(err)
		}
		if token.AccessToken == refused {
			s.stale = refused
			return v
		}
		if v = s.check(ctx, token.AccessToken); v.state != bridge.Unauthorized {
			return v
		}
		refused = token.AccessToken
		s.graph.token.Invalidate(refused)
	}
	return v
}

// check has Graph inspect a token and, where it will do, say what else there is
// to know.
func (s *Session) check(ctx context.Context, token string) verdict {
	var notes []string
	found, err := s.inspect(ctx, token)
	switch {
	case err == nil:
		s.publish(ctx, found)
		if v := judge(found, s.wabaID); v.state != bridge.Connected {
			return v
		}
		notes = append(notes, remarks(found, s.graph.appID, s.wabaID, time.Now())...)
	case ctx.Err() != nil:
		return verdict{state: bridge.Disconnected}
	default:
		v := s.uninspected(err)
		if v.state != bridge.Connected {
			return v
		}
		notes = append(notes, v.reason)
	}
	ctx, cancel := context.WithTimeout(ctx, numberTimeout)
	defer cancel()
	if err := s.subscribe(ctx); err != nil {
		notes = append(notes, err.Error())
		s.partly = retriable(err)
	}
	if err := s.readLimits(ctx); err != nil {
		s.log.Warn("the number's limits are not known; using the default", "error", err)
		s.partly = s.partly || retriable(err)
	}
	return verdict{state: bridge.Connected, reason: strings.Join(notes, "; ")}
}

// inspect is Graph's word on a token, within inspectTimeout.
func (s *Session) inspect(ctx context.Context, token string) (*Inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	return s.graph.inspect(ctx, token)
}

// tokenError gives an error of a token source its class.
func tokenError(err error) error {
	switch {
	case errors.Is(err, auth.ErrForbidden):
		return &refusedToken{class: codec.Denied, err: err}
	case errors.Is(err, auth.ErrRefused):
		return &refusedToken{class: codec.Unauthorized, err: err}
	default:
		return fmt.Errorf("getting a token: %w", err)
	}
}

// tokenVerdict says what follows when there is no token.
func tokenVerdict(err error) verdict {
	v := verdict{state: bridge.Disconnected, class: codec.Transient, reason: tokenError(err).Error()}
	if refused, ok := errors.AsType[*refusedToken](tokenError(err)); ok {
		v.class = refused.class
		v.state = bridge.Unauthorized
		if refused.class == codec.Denied {
			v.state = bridge.Forbidden
		}
	}
	return v
}

// uninspected says what follows when Graph did not inspect the token. Only a
// refusal of the token itself and a Graph that is away keep a session from
// sending: the right to inspect is not the right to send.
func (s *Session) uninspected(err error) verdict {
	said, answered := errors.AsType[*AnswerError](err)
	own := s.graph.appID == "" || s.graph.appSecret == ""
	switch {
	case !answered, said.Object == nil && said.Status >= http.StatusInternalServerError:
		return verdict{bridge.Disconnected, codec.Transient, err.Error()}
	case own && said.rule().Class == codec.Unauthorized:
		return verdict{bridge.Unauthorized, codec.Unauthorized, err.Error()}
	default:
		return verdict{state: bridge.Connected, reason: err.Error()}
	}
}

// judge says whether a token will do.
func judge(found *Inspection, waba string) verdict {
	switch {
	case !found.Valid:
		reason := "Graph says that the token is not valid"
		if found.Error != nil {
			reason += fmt.Sprintf(" (code %d, subcode %d)", found.Error.Code, found.Error.Subcode)
		}
		return verdict{bridge.Unauthorized, codec.Unauthorized, reason}
	case !found.reaches(ScopeMessaging, ""):
		return verdict{bridge.Forbidden, codec.Denied, "the token lacks the scope " + ScopeMessaging}
	case !found.reaches(ScopeMessaging, waba):
		return verdict{bridge.Forbidden, codec.Denied, "the token does not reach the WhatsApp Business account: assign it to the system user"}
	default:
		return verdict{state: bridge.Connected}
	}
}

// remarks are what does not keep a session from sending and matters soon.
func remarks(found *Inspection, appID, waba string, now time.Time) []string {
	var notes []string
	if !found.reaches(ScopeManagement, waba) {
		notes = append(notes, "events will not arrive: the token lacks the scope "+ScopeManagement)
	}
	if appID != "" && found.AppID != "" && found.AppID != appID {
		notes = append(notes, "the token belongs to another app than the one configured")
	}
	for what, at := range map[string]int64{"the token": found.Expires, "its access to data": found.DataUntil} {
		if at > 0 && time.Unix(at, 0).Sub(now) < expirySoon {
			notes = append(notes, what+" ends at "+time.Unix(at, 0).UTC().Format(time.RFC3339))
		}
	}
	slices.Sort(notes)
	return notes
}

// publish tells of a check: an event and a metric.
func (s *Session) publish(ctx context.Context, found *Inspection) {
	s.meters.checked(ctx, found)
	value, err := json.Marshal(found)
	if err != nil {
		s.log.Error("a token check cannot be written", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, eventTimeout)
	defer cancel()
	err = s.host.Receive(ctx, &bridge.Inbound{
		Kind: bridge.KindEvent,
		Data: codec.AppendFieldEvent(nil, "session_token", value),
		Time: time.Now(),
	})
	if err != nil && ctx.Err() == nil {
		s.log.Warn("a token check was not stored", "error", err)
	}
}

// subscribe has Meta send the account's webhooks to the app, once.
func (s *Session) subscribe(ctx context.Context) error {
	if s.wabaID == "" || s.subscribed {
		return nil
	}
	if err := s.graph.call(ctx, http.MethodPost, s.wabaID+"/subscribed_apps", nil, nil, nil); err != nil {
		return fmt.Errorf("subscribing the app to the WhatsApp Business account: %w", err)
	}
	s.subscribed = true
	return nil
}

// readLimits asks how fast the number may send, and takes as much in hand as that
// needs.
func (s *Session) readLimits(ctx context.Context) error {
	if s.limits == nil {
		return nil
	}
	var number phoneNumber
	err := s.graph.call(ctx, http.MethodGet, s.phoneID, url.Values{"fields": {phoneFields}}, nil, &number)
	if err != nil {
		return fmt.Errorf("reading the number's throughput: %w", err)
	}
	limits := number.limits()
	if !s.fixed {
		s.window.Store(max(defaultWindow, int64(limits.PerSecond*slowAnswer.Seconds())))
	}
	s.limits(limits)
	return nil
}
