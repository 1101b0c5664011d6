package outbound

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// App is what the sessions of one app share: a rate limit that reached all of
// them. It is safe for concurrent use.
type App struct{ until atomic.Int64 }

// NewApp returns an App that holds nothing.
func NewApp() *App { return &App{} }

// Hold keeps every session of the app from sending before until.
func (a *App) Hold(until time.Time) {
	for {
		now := a.until.Load()
		if until.UnixNano() <= now || a.until.CompareAndSwap(now, until.UnixNano()) {
			return
		}
	}
}

// held reports the end of the hold where it is still to come.
func (a *App) held(now time.Time) (time.Time, bool) {
	until := a.until.Load()
	return time.Unix(0, until), until > now.UnixNano()
}

// SetLimits changes the rates that the session keeps to, as when the platform
// has said how fast the number may send. It does not block.
func (s *Session) SetLimits(limits Limits) {
	window := s.allowed()
	s.mu.Lock()
	s.cfg.Limits = limits
	s.pace = relimit(s.pace, limits.SessionRate, limits.SessionBurst)
	for _, l := range s.lanes {
		l.pace = relimit(l.pace, limits.ConversationRate, limits.ConversationBurst)
	}
	s.pump(window, pumpBudget)
}

// Count says that n messages came in: where the platform counts them towards
// the session's rate, as WhatsApp does, they leave that much less of it for
// sends. They leave no debt, so that a flood from hours ago delays no send by
// more than what it takes to earn one. It does not block.
func (s *Session) Count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pace == nil || n <= 0 {
		return
	}
	now := time.Now()
	s.pace.AllowN(now, min(n, int(s.pace.TokensAt(now))))
}

func newLimiter(perSecond float64, burst int) *rate.Limiter {
	if perSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(perSecond), max(burst, 1))
}

// relimit gives a limiter another rate; what it has saved up, it keeps.
func relimit(l *rate.Limiter, perSecond float64, burst int) *rate.Limiter {
	if l == nil || perSecond <= 0 {
		return newLimiter(perSecond, burst)
	}
	l.SetLimit(rate.Limit(perSecond))
	l.SetBurst(max(burst, 1))
	return l
}

// shortfall is how long a limiter needs until it has a token; 0 with one.
func shortfall(l *rate.Limiter, now time.Time) time.Duration {
	if l == nil {
		return 0
	}
	missing := 1 - l.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(missing/float64(l.Limit())*float64(time.Second)), time.Millisecond)
}

func spend(l *rate.Limiter, now time.Time) {
	if l != nil {
		l.AllowN(now, 1)
	}
}

// jitter is a wait before try n+1, spread over the whole of a bound that
// doubles from least to most.
func jitter(n int, least, most time.Duration) time.Duration {
	bound := least << min(max(n, 0), 30)
	if bound <= 0 || bound > most {
		bound = most
	}
	return rand.N(bound) + 1
}

// pairWait is the wait that WhatsApp asks for after 131056, the limit of one
// pair of numbers: 4^n seconds, at most a quarter of an hour.
func pairWait(n int) time.Duration {
	return min(time.Second<<(2*min(max(n, 0), 5)), 15*time.Minute)
}
