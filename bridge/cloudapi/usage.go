package cloudapi

import (
	"encoding/json"
	"net/http"
	"time"
)

// Above slowAt percent of what Meta allows in an hour a session sends with a
// quarter of its window; at the whole it waits.
const (
	slowAt   = 90
	holdAt   = 100
	holdLess = 30 * time.Second // where Meta does not say how long
	holdMost = time.Hour
)

// usage is how much of its rate limits Meta has counted.
type usage struct {
	percent int
	regain  time.Duration // until access comes back; 0 where it was not lost
}

// counts is one entry of a usage header, in percent and minutes.
type counts struct {
	Type    string  `json:"type"`
	Calls   float64 `json:"call_count"`
	CPUTime float64 `json:"total_cputime"`
	Time    float64 `json:"total_time"`
	Regain  float64 `json:"estimated_time_to_regain_access"`
}

// readUsage returns the highest of what the usage headers of an answer say
// about sending. What they say of management calls does not slow sends.
func readUsage(h http.Header) usage {
	var u usage
	if raw := h.Get("X-App-Usage"); raw != "" {
		var c counts
		if json.Unmarshal([]byte(raw), &c) == nil {
			u.add(c)
		}
	}
	if raw := h.Get("X-Business-Use-Case-Usage"); raw != "" {
		var accounts map[string][]counts
		if json.Unmarshal([]byte(raw), &accounts) == nil {
			for _, entries := range accounts {
				for _, c := range entries {
					if c.Type == "whatsapp" {
						u.add(c)
					}
				}
			}
		}
	}
	return u
}

func (u *usage) add(c counts) {
	highest := min(max(c.Calls, c.CPUTime, c.Time, 0), 1000)
	u.percent = max(u.percent, int(highest))
	if c.Regain > 0 {
		minutes := min(c.Regain, holdMost.Minutes())
		u.regain = max(u.regain, time.Duration(minutes*float64(time.Minute)))
	}
}

// hold is how long to send nothing.
func (u *usage) hold() time.Duration {
	if u.percent < holdAt {
		return 0
	}
	if u.regain > 0 {
		return u.regain
	}
	return holdLess
}
