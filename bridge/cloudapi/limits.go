package cloudapi

import "time"

// Limits is how fast Meta lets one number send.
type Limits struct {
	// PerSecond is messages per second, those of users included.
	PerSecond float64
	// One message each PairEvery goes to one user, after PairBurst at once.
	PairEvery time.Duration
	PairBurst int
}

// DefaultLimits are those of a number of which nothing is known.
func DefaultLimits() Limits {
	return Limits{PerSecond: 80, PairEvery: 6 * time.Second, PairBurst: 45}
}

// phoneNumber is what Graph says of a number.
type phoneNumber struct {
	Status     string `json:"status"`
	Platform   string `json:"platform_type"`
	OnBizApp   bool   `json:"is_on_biz_app"`
	Quality    string `json:"quality_rating"`
	Throughput struct {
		Level string `json:"level"`
	} `json:"throughput"`
}

// phoneFields selects them.
const phoneFields = "status,platform_type,is_on_biz_app,quality_rating,throughput"

// limits are those that Meta gives such a number: 20 a second where a phone
// shares it, 1,000 after the upgrade that large senders get.
func (p *phoneNumber) limits() Limits {
	l := DefaultLimits()
	switch {
	case p.OnBizApp:
		l.PerSecond = 20
	case p.Throughput.Level == "HIGH":
		l.PerSecond = 1000
	}
	return l
}
