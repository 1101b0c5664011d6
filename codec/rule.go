package codec

import "time"

// Rule is what follows from an error of the platform.
type Rule struct {
	Class Class
	Scope Scope
	// Tries bounds how often a transient failure is tried; 0 is without bound.
	Tries int
	// Wait is the least wait that the error asks for; 0 where it asks for none.
	Wait time.Duration
	// Grow says that the wait before try n is 4^n seconds, n from 0.
	Grow bool
}

// Rules that many codes share.
func permanent() Rule          { return Rule{Class: Permanent} }
func denied() Rule             { return Rule{Class: Denied, Scope: ScopeSession} }
func unauthorized() Rule       { return Rule{Class: Unauthorized, Scope: ScopeSession} }
func transient(tries int) Rule { return Rule{Class: Transient, Tries: tries} }

func throttled(scope Scope, wait time.Duration) Rule {
	return Rule{Class: Throttled, Scope: scope, Wait: wait}
}

// Classify gives the rule of a Cloud API error: by its code, else by
// is_transient, else by HTTP status (0 where there is none, as on the Chat API).
// Where e is nil the platform gave no error object, and the status alone counts:
// a bare 5xx, or no status, leaves the send unknown.
func Classify(e *Error, httpStatus int) Rule {
	if e == nil {
		return byStatus(httpStatus, Rule{Class: Unknown})
	}
	if r, ok := byCode(e); ok {
		return r
	}
	if e.Transient {
		return transient(0)
	}
	return byStatus(httpStatus, transient(3))
}

// GoneMedia reports whether the refusal of a send of this type (as in
// Command.Type) is about a file: the code for a number that is gone stands for a
// media id that is not known any more, too. A message without a file will tell if
// it is the number.
func GoneMedia(e *Error, kind string) bool {
	if e == nil || e.Code != 33 && (e.Code != 100 || e.Subcode != 33) {
		return false
	}
	switch kind {
	case "image", "audio", "video", "document", "sticker", "template", "interactive":
		return true
	}
	return false
}

// byStatus judges by HTTP status alone. broken is for a platform that failed.
func byStatus(status int, broken Rule) Rule {
	switch {
	case status == 401:
		return unauthorized()
	case status == 403:
		return denied()
	case status == 429:
		return throttled(ScopeSession, time.Second)
	case status == 408, status >= 500:
		return broken
	case status < 400 && broken.Class == Unknown:
		return broken // neither an error object nor an error's status: no answer
	}
	return permanent()
}

// byCode is Meta's table of error codes. Codes that say "wait" carry the scope
// of their limit.
func byCode(e *Error) (Rule, bool) {
	switch e.Code {
	case 0, 102, 104, 190: // token missing, expired or invalid
		return unauthorized(), true
	case 3, 10, // capability or permission missing
		33,     // the phone number is gone or not visible
		368,    // blocked for policy violations
		131005, // access denied
		131031, // account locked
		131037, // display name not approved
		131042, // payment problem
		131045, // phone number registration or certificate
		134011: // payments terms not accepted
		return denied(), true
	case 133000, 133005, 133006, 133008, 133009, 133010, 133015: // registration and PIN
		return denied(), true
	case 1, 131000: // unknown trouble at the platform
		return transient(3), true
	case 131053: // media could not be fetched or uploaded: flaky links, wrong types
		return transient(3), true
	case 2, 131016, 133004: // temporarily unavailable
		return transient(0), true
	case 131057: // maintenance, a minute at most
		return Rule{Class: Transient, Scope: ScopeSession, Wait: 5 * time.Second}, true
	case 134101: // a template that is still being synchronised, ten minutes at most
		return Rule{Class: Transient, Tries: 3, Wait: 10 * time.Minute}, true
	case 4, 17, 613, 80007: // calls of the app, the user or the business account
		return throttled(ScopeApp, time.Minute), true
	case 130429: // throughput of the number
		return throttled(ScopeSession, time.Second), true
	case 131048: // spam limit of the number
		return throttled(ScopeSession, 10*time.Minute), true
	case 131064: // limit on templates of a doubtful category
		return throttled(ScopeSession, time.Minute), true
	case 133016: // too many registrations
		return throttled(ScopeSession, time.Hour), true
	case 132069: // a flow at its limit of 10 messages per hour
		return throttled(ScopeLane, 6*time.Minute), true
	case 131056: // pair limit
		return Rule{Class: Throttled, Scope: ScopeLane, Wait: time.Second, Grow: true}, true
	case 100: // invalid parameter; subcode 33: the number itself is gone
		if e.Subcode == 33 {
			return denied(), true
		}
		return permanent(), true
	case 131008, 131009, 135000, // missing or wrong parameter
		130403, 130472, 130497, // the user is blocked, in an experiment, in a restricted country
		131020, 131041, // groups
		131021, 131026, 131030, // recipient: the sender, unreachable, not allow-listed
		131047, 131049, 131050, // 24 h window, marketing cap, marketing stopped
		131051, 131052, 131055, 131060, 131062, // type, media, method, unavailable, BSUID
		131063, 132068, // marketing templates disabled, flow blocked
		132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018, // templates
		134100, 134102, // marketing messages API only
		137000,                    // identity key mismatch
		2593107, 2593108, 2593109: // coexistence sync
		return permanent(), true
	}
	return byFamily(e.Code)
}

// byFamily knows ranges of codes.
func byFamily(code int) (Rule, bool) {
	switch {
	case code >= 200 && code <= 299: // permission missing
		return denied(), true
	case code >= 131200 && code <= 131299, // groups
		code >= 138000 && code <= 139999,   // calling; flows and block list
		code >= 147000 && code <= 147999,   // usernames
		code >= 2388000 && code <= 2388999, // template creation
		code >= 2494000 && code <= 2494999: // migration
		return permanent(), true
	}
	return Rule{}, false
}
