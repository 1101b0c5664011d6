package simulator

import (
	"net/http"
	"strconv"
)

// apiError is an error as the Cloud API words it.
type apiError struct {
	Code      int
	Title     string
	Detail    string
	Subcode   int
	Transient bool
	Status    int // HTTP status on Graph
	// RetryAfter in seconds, for the Chat API's answer; 0 leaves it out.
	RetryAfter int
}

type errorKind struct {
	title     string
	status    int
	transient bool
}

// errorKinds are the titles and HTTP statuses that Meta gives its codes.
func errorKinds(code int) errorKind {
	switch code {
	case 0:
		return errorKind{"AuthException", 401, false}
	case 1:
		return errorKind{"API Unknown", 400, false}
	case 2:
		return errorKind{"API Service", 503, true}
	case 3:
		return errorKind{"API Method", 500, false}
	case 4:
		return errorKind{"API Too Many Calls", 429, true}
	case 10:
		return errorKind{"Permission Denied", 403, false}
	case 33:
		return errorKind{"Parameter value is not valid", 400, false}
	case 100:
		return errorKind{"Invalid parameter", 400, false}
	case 190:
		return errorKind{"Access token has expired", 401, false}
	case 200:
		return errorKind{"API Permission", 403, false}
	case 368:
		return errorKind{"Temporarily blocked for policies violations", 403, false}
	case 80007:
		return errorKind{"Rate limit issues", 400, true}
	case 130429:
		return errorKind{"Rate limit hit", 429, true}
	case 131000:
		return errorKind{"Something went wrong", 500, false}
	case 131005:
		return errorKind{"Access denied", 403, false}
	case 131008:
		return errorKind{"Required parameter is missing", 400, false}
	case 131009:
		return errorKind{"Parameter value is not valid", 400, false}
	case 131016:
		return errorKind{"Service unavailable", 500, true}
	case 131021:
		return errorKind{"Recipient cannot be sender", 400, false}
	case 131026:
		return errorKind{"Message undeliverable", 400, false}
	case 131031:
		return errorKind{"Business Account locked", 403, false}
	case 131042:
		return errorKind{"Business eligibility payment issue", 400, false}
	case 131047:
		return errorKind{"Re-engagement message", 400, false}
	case 131048:
		return errorKind{"Spam rate limit hit", 429, false}
	case 131049:
		return errorKind{"Meta chose not to deliver", 400, false}
	case 131050:
		return errorKind{"User has stopped marketing messages", 400, false}
	case 131051:
		return errorKind{"Unsupported message type", 400, false}
	case 131053:
		return errorKind{"Media upload error", 400, false}
	case 131056:
		return errorKind{"(Business Account, Consumer Account) pair rate limit hit", 429, true}
	case 131057:
		return errorKind{"Account in maintenance mode", 500, true}
	case 132000:
		return errorKind{"Number of parameters does not match the expected number of params", 400, false}
	case 132001:
		return errorKind{"Template name does not exist in the translation", 404, false}
	case 133004:
		return errorKind{"Server temporarily unavailable", 503, true}
	case 133010:
		return errorKind{"Phone number not registered", 400, false}
	default:
		return errorKind{"Error " + strconv.Itoa(code), http.StatusBadRequest, false}
	}
}

func newAPIError(code int, detail string) *apiError {
	k := errorKinds(code)
	return &apiError{Code: code, Title: k.title, Detail: detail, Status: k.status, Transient: k.transient}
}

// append writes the object inside {"error": …}.
func (e *apiError) append(dst []byte, trace string) []byte {
	dst = append(dst, `{"message":`...)
	dst = appendText(dst, "(#"+strconv.Itoa(e.Code)+") "+e.Title)
	dst = append(dst, `,"type":"OAuthException","code":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	if e.Subcode != 0 {
		dst = append(dst, `,"error_subcode":`...)
		dst = strconv.AppendInt(dst, int64(e.Subcode), 10)
	}
	if e.Transient {
		dst = append(dst, `,"is_transient":true`...)
	}
	if e.Detail != "" {
		dst = append(dst, `,"error_data":{"messaging_product":"whatsapp","details":`...)
		dst = appendText(dst, e.Detail)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"fbtrace_id":`...)
	dst = appendText(dst, trace)
	return append(dst, '}')
}

// appendStatus writes the error as statuses and messages carry it.
func (e *apiError) appendStatus(dst []byte) []byte {
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(e.Code), 10)
	dst = append(dst, `,"title":`...)
	dst = appendText(dst, e.Title)
	dst = append(dst, `,"message":`...)
	dst = appendText(dst, e.Title)
	dst = append(dst, `,"error_data":{"details":`...)
	dst = appendText(dst, e.Detail)
	return append(dst, "}}"...)
}
