package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// VerifySignature reports whether header, the value of X-Hub-Signature-256,
// is the signature of body under one of secrets: the current one and, while a
// secret is rotated, the previous. Empty secrets never match. It takes the
// same time wherever a signature differs.
func VerifySignature(secrets []string, body []byte, header string) bool {
	digest, found := strings.CutPrefix(header, "sha256=")
	if !found || len(digest) != 2*sha256.Size {
		return false
	}
	given, err := hex.DecodeString(digest)
	if err != nil {
		return false
	}
	valid := false
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), given) {
			valid = true
		}
	}
	return valid
}

// AppSecretProof returns the appsecret_proof parameter that shows Graph that
// whoever calls with token holds the app's secret. With a time it is the
// current form, over "token|unix time", where that time goes along as
// appsecret_time; with the zero time it is the plain form, over the token.
func AppSecretProof(secret, token string, at time.Time) string {
	signed := token
	if !at.IsZero() {
		signed += "|" + strconv.FormatInt(at.Unix(), 10)
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return hex.EncodeToString(mac.Sum(nil))
}
