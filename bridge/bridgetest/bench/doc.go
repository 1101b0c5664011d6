// Package bench measures the bridge beside a floor: the least that joins a
// WebSocket to JetStream correctly, without validation, tracing, lanes or
// outcomes. Both run as processes of their own against the same nats-server
// process and the same platform, interleaved, so that the ratios hold on a busy
// machine too:
//
//	go test -run '^$' -bench Bridge -benchtime 1x ./bridge/bridgetest/bench
//
// Inbound, the floor reads frames, publishes each asynchronously with its
// message id and headers, and acks cumulatively what JetStream has. Outbound, it
// consumes, writes, reads the answer and acks. The bridge does all that it
// promises, with tracing at 1 %.
//
// Webhooks are measured beside a floor that verifies the signature and
// publishes, then beside a flood of bad ones; media by how memory grows with a
// file of 100 MB:
//
//	go test -run '^$' -bench 'Webhooks|WebhookFlood|Media' -benchtime 1x ./bridge/bridgetest/bench
//
// Many sessions in one replica, 1 to 10,000, are measured by what they cost to
// connect, while idle, and for each message; deploy/docs/PERFORMANCE.md says more:
//
//	go test -run '^$' -bench Sessions -benchtime 1x -timeout 2h ./bridge/bridgetest/bench
//
// How long sessions are without a connection when a replica is killed or
// stopped, or a NATS leader falls, with three replicas:
//
//	go test -run '^$' -bench Fleet -benchtime 1x ./bridge/bridgetest/bench -fleet.sessions 1000
package bench
