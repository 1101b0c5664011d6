package simulator

import (
	"errors"
	"net/url"
	"time"
)

// Webhook makes a session a Cloud API one, and is where its webhooks go.
type Webhook struct {
	URL         string `json:"url"`
	AppID       string `json:"app_id,omitempty"` // "" is 990000000000001
	AppSecret   string `json:"app_secret"`
	VerifyToken string `json:"verify_token,omitempty"`
	// Retry is the wait after a first failure; it doubles up to RetryMax.
	// 0 is 100 ms and 10 s. After GiveUp (0 is 7 days) an update is dropped.
	Retry    Duration `json:"retry,omitempty"`
	RetryMax Duration `json:"retry_max,omitempty"`
	GiveUp   Duration `json:"give_up,omitempty"`
	// Concurrency is how many posts are under way at once; 0 is 8.
	Concurrency int `json:"concurrency,omitempty"`
	// Batch is the most updates in a post, up to 1,000; 0 is 20.
	Batch int `json:"batch,omitempty"`
	// Twice is the probability that a post is made twice at once, Shuffle that an
	// update is put off behind later ones, Early that statuses go out before the
	// send is answered.
	Twice   float64 `json:"twice,omitempty"`
	Shuffle float64 `json:"shuffle,omitempty"`
	Early   float64 `json:"early,omitempty"`
	// Token is a system-user token for Graph that never ends; "" makes none.
	Token string `json:"token,omitempty"`
	// PIN that registering the number asks for; "" takes any.
	PIN string `json:"pin,omitempty"`
	// Unregistered numbers refuse sends (133010), unsubscribed apps get no
	// webhooks, until Graph is asked to change that.
	Unregistered bool `json:"unregistered,omitempty"`
	Unsubscribed bool `json:"unsubscribed,omitempty"`
}

func (w *Webhook) validate() error {
	if w == nil {
		return nil
	}
	if u, err := url.Parse(w.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return errors.New("webhook: url is not an http or https URL")
	}
	if w.AppSecret == "" {
		return errors.New("webhook: app secret is missing")
	}
	if w.Batch < 0 || w.Batch > 1000 || w.Concurrency < 0 {
		return errors.New("webhook: batch is not 0 to 1000, or concurrency is negative")
	}
	return nil
}

func (w *Webhook) setDefaults() {
	if w.AppID == "" {
		w.AppID = "990000000000001"
	}
	if w.Concurrency == 0 {
		w.Concurrency = 8
	}
	if w.Batch == 0 {
		w.Batch = 20
	}
	for _, f := range []struct {
		d *Duration
		v time.Duration
	}{{&w.Retry, 100 * time.Millisecond}, {&w.RetryMax, 10 * time.Second}, {&w.GiveUp, 7 * 24 * time.Hour}} {
		if *f.d == 0 {
			*f.d = Duration(f.v)
		}
	}
}
