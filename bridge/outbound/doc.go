// Package outbound brings the commands of a session to its platform and says
// what became of each.
//
// A command goes from WA_SEND into the lane of its conversation, one at a time
// to the platform, its outcome to wa.status, and only then is it settled:
// acked, or kept as a dead letter and terminated. Exactly one outcome stands
// for a command, whatever crashes in between, because its message id is one for
// all words and JetStream decides which came first. Lanes, pacing, retries,
// unanswered sends and the backlog of a session that cannot keep up live here.
// Who owns a session, how commands are consumed and how records are stored do
// not: see ownership and broker.
package outbound
