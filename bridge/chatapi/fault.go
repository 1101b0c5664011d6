package chatapi

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"wabridge/auth"
	"wabridge/bridge"
	"wabridge/codec"
)

// CloseCode is a WebSocket close code of the Chat API.
type CloseCode int

// The close codes that a platform sends, and what follows each. Any other means
// a lost connection: the next one is tried after a backoff.
const (
	// CloseGoingAway: the platform restarts. Connect again after a backoff.
	CloseGoingAway CloseCode = websocket.CloseGoingAway
	// CloseTooBig: the platform found a frame of ours too big. The send that it
	// was is invalid, where only one can be meant; where several can, they are
	// unknown, and go one at a time on the next connection until one is found.
	CloseTooBig CloseCode = websocket.CloseMessageTooBig
	// CloseToken: the token is refused. Fetch another and connect again, once;
	// then the session is unauthorized and tries slowly.
	CloseToken CloseCode = 4401
	// ClosePermission: the session is forbidden until someone resumes it.
	ClosePermission CloseCode = 4403
	// CloseReplaced: a newer connection took this one's place. Stay away until
	// someone resumes the session.
	CloseReplaced CloseCode = 4409
	// CloseSlowDown: connect again after the seconds that the reason holds.
	CloseSlowDown CloseCode = 4429
)

// longestWait bounds what a platform can ask a session to wait.
const longestWait = time.Hour

// cause says why a connection ended or could not be made; a closed set, whose
// words are the values of a metric's label.
type cause string

const (
	causeLost       cause = "lost"
	causeHandshake  cause = "handshake"
	causeProtocol   cause = "protocol"
	causeGap        cause = "gap"
	causeUnanswered cause = "unanswered"
	causeStore      cause = "store"
	causeToken      cause = "token"
	causeForbidden  cause = "forbidden"
	causeReplaced   cause = "replaced"
	causeSlowDown   cause = "slow_down"
	causeNoSession  cause = "no_session"
	causeTooBig     cause = "too_big"
	causeStopped    cause = "stopped"
)

// causes lists them all.
func causes() []cause {
	return []cause{
		causeLost, causeHandshake, causeProtocol, causeGap, causeUnanswered, causeStore, causeToken, causeForbidden,
		causeReplaced, causeSlowDown, causeNoSession, causeTooBig, causeStopped,
	}
}

// fault is why there is no connection. Its text is for people and holds
// nothing that the platform wrote.
type fault struct {
	cause  cause
	reason string
	wait   time.Duration // that the platform asked for; 0 where it did not
	err    error         // may be nil
}

// Error gives the reason.
func (f *fault) Error() string {
	if f.err != nil {
		return f.reason + ": " + f.err.Error()
	}
	return f.reason
}

// Unwrap gives the cause in code.
func (f *fault) Unwrap() error { return f.err }

// state is where a session stands after the fault, with the class of it.
func (f *fault) state() (bridge.State, codec.Class) {
	switch f.cause {
	case causeToken:
		return bridge.Unauthorized, codec.Unauthorized
	case causeForbidden:
		return bridge.Forbidden, codec.Denied
	case causeReplaced:
		return bridge.Replaced, codec.Transient
	case causeSlowDown:
		return bridge.Disconnected, codec.Throttled
	default:
		return bridge.Disconnected, codec.Transient
	}
}

// tokenFault sorts an error of the token source.
func tokenFault(err error) *fault {
	switch {
	case errors.Is(err, auth.ErrRefused):
		return &fault{cause: causeToken, reason: "no token", err: err}
	case errors.Is(err, auth.ErrForbidden):
		return &fault{cause: causeForbidden, reason: "no token", err: err}
	default:
		return &fault{cause: causeLost, reason: "no token", err: err}
	}
}

// readFault sorts an error of reading from the socket.
func readFault(err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	closed, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return lost("connection lost", err)
	}
	switch CloseCode(closed.Code) {
	case CloseToken:
		return &fault{cause: causeToken, reason: "the platform refused the token (close 4401)"}
	case ClosePermission:
		return &fault{cause: causeForbidden, reason: "the platform withdrew the permission (close 4403)"}
	case CloseReplaced:
		return &fault{cause: causeReplaced, reason: "a newer connection took this session's place (close 4409)"}
	case CloseSlowDown:
		return &fault{cause: causeSlowDown, reason: "the platform asks to slow down (close 4429)", wait: seconds(closed.Text)}
	case CloseTooBig:
		return &fault{cause: causeTooBig, reason: "the platform found a frame too big (close 1009)"}
	case CloseGoingAway:
		return &fault{cause: causeLost, reason: "the platform is going away (close 1001)"}
	default:
		return &fault{cause: causeLost, reason: "the platform closed the connection (close " + strconv.Itoa(closed.Code) + ")"}
	}
}

// lost is a network failure. The text of an error that is not known to quote
// no bytes of the peer's is left out.
func lost(reason string, err error) *fault {
	if quotable(err) {
		return &fault{cause: causeLost, reason: reason, err: err}
	}
	return &fault{cause: causeLost, reason: reason}
}

// seconds reads a number of seconds, as in a close reason or Retry-After; 0
// where it is none.
func seconds(s string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || !(n > 0) {
		return 0
	}
	if n >= longestWait.Seconds() {
		return longestWait
	}
	return time.Duration(n * float64(time.Second))
}
