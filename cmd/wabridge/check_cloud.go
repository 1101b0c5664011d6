package main

import (
	"context"
	"strings"

	"wabridge/bridge"
	"wabridge/bridge/cloudapi"
)

// cloud checks a Cloud API session: its token, scopes, account, subscription and
// number, one line each.
func (c *checker) cloud(ctx context.Context, config *config, d *bridge.Definition, known string) {
	name := "session " + d.ID
	graph, err := newGraph(config, d)
	if err != nil {
		c.add(finding{name, stateFailed, err.Error() + known, "check the token's variables"})
		return
	}
	defer graph.Close()
	for _, found := range graph.Check(ctx, d.PhoneNumberID, d.WABAID) {
		c.add(finding{Check: name, State: stateOfCloud(&found), Detail: found.What + ": " + found.Detail})
	}
	if d.WABAID == "" {
		c.add(finding{
			name, stateWarning, "WhatsApp Business Account: its id is not set, so the bridge cannot subscribe the app to its webhooks",
			"set the session's WABA_ID",
		})
	}
	if said := strings.TrimPrefix(known, "; "); said != "" {
		c.add(finding{Check: name, State: stateOK, Detail: said})
	}
}

// stateOfCloud tells what keeps a session from sending from what does not.
func stateOfCloud(f *cloudapi.Finding) string {
	switch {
	case f.OK:
		return stateOK
	case strings.HasSuffix(f.What, cloudapi.ScopeManagement), strings.HasSuffix(f.What, "subscription"):
		return stateWarning
	default:
		return stateFailed
	}
}
