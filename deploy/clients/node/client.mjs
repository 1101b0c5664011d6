#!/usr/bin/env node
// Sends and receives WhatsApp messages through NATS.
//
//   client.mjs send SESSION TO TEXT [ID]       sends, waits for the outcome
//   client.mjs follow SESSION DURABLE [TYPE]   goes on where DURABLE stopped
//   client.mjs replay SESSION SINCE [TYPE]     everything since then (RFC 3339)
//
// TYPE is a ce-type, such as whatsapp.message.text.
// Needs: npm install @nats-io/transport-node @nats-io/jetstream (3 or newer)

import { randomUUID } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const STREAM = "WA_RECV";

// show prints a message of the type that is asked for.
function show(msg, only) {
  const type = msg.headers?.get("ce-type");
  if (only && type !== only) return;
  console.log(msg.headers?.get("ce-subject"), type, msg.string());
}

// ordered reads a subject from a time on, in order, and leaves nothing behind.
function ordered(js, subject, start) {
  return js.consumers.get(STREAM, {
    filter_subjects: [subject],
    deliver_policy: DeliverPolicy.StartTime,
    opt_start_time: new Date(start).toISOString(),
  });
}

// send publishes a command and waits for the one word on it. With the same id it
// may be called again and again within two hours, and is one command.
async function send(js, session, to, text, id = randomUUID()) {
  let start = Date.now() - 60_000;
  const ack = await js.publish(`wa.send.${session}`, JSON.stringify({ to, text }), { msgID: id });
  if (ack.duplicate) start -= 2 * 3600_000; // its outcome may be there already
  const statuses = await (await ordered(js, `wa.status.${session}`, start)).consume();
  const timer = setTimeout(() => statuses.stop(new Error(`no outcome of ${id} within a minute`)), 60_000);
  for await (const msg of statuses) {
    if (msg.headers?.get("Nats-Msg-Id") !== `${session}:${ack.seq}:outcome`) continue;
    clearTimeout(timer);
    const outcome = msg.json();
    console.log(outcome.status, outcome.id ?? outcome.error);
    return outcome.status === "accepted" ? 0 : 1;
  }
}

// follow reads with a durable consumer: the server keeps how far it came, and
// what is not acknowledged comes again, also after a restart.
async function follow(js, session, durable, only) {
  const manager = await jetstreamManager(js.nc);
  await manager.consumers.add(STREAM, {
    durable_name: durable,
    filter_subject: `wa.recv.${session}`,
    ack_policy: AckPolicy.Explicit,
  });
  const messages = await (await js.consumers.get(STREAM, durable)).consume();
  for await (const msg of messages) {
    show(msg, only);
    msg.ack(); // only after it is handled
  }
  return 0;
}

// replay reads what is there since a time.
async function replay(js, session, start, only) {
  const consumer = await ordered(js, `wa.recv.${session}`, start);
  if ((await consumer.info()).num_pending === 0) return 0;
  const messages = await consumer.consume();
  for await (const msg of messages) {
    show(msg, only);
    if (msg.info.pending === 0) break;
  }
  return 0;
}

const commands = { send: [send, 3], follow: [follow, 2], replay: [replay, 2] };
const [name, ...args] = process.argv.slice(2);
const [run, least] = commands[name] ?? [];
if (!run || args.length < least || args.length > least + 1) {
  console.error("want send SESSION TO TEXT [ID], follow SESSION DURABLE [TYPE] or replay SESSION SINCE [TYPE]");
  process.exit(2);
}
const nc = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222", maxReconnectAttempts: -1 });
try {
  process.exitCode = await run(jetstream(nc), ...args);
} finally {
  await nc.close();
}
