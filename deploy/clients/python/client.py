#!/usr/bin/env python3
"""Sends and receives WhatsApp messages through NATS.

client.py send SESSION TO TEXT [ID]       sends, waits for the outcome
client.py follow SESSION DURABLE [TYPE]   goes on where DURABLE stopped
client.py replay SESSION SINCE [TYPE]     everything since then (RFC 3339)

TYPE is a ce-type, such as whatsapp.message.text. Needs nats-py (2.9 or newer).
"""

import asyncio
import json
import os
import sys
import uuid
from datetime import datetime, timedelta, timezone

import nats
from nats.errors import TimeoutError as NatsTimeout
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

STREAM = "WA_RECV"


async def ordered(js, subject, since):
    """Reads a subject from a time on, in order, and leaves nothing behind."""
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_TIME, opt_start_time=since)
    return await js.subscribe(subject, stream=STREAM, ordered_consumer=True, config=config)


def show(msg, only):
    """Prints a message of the type that is asked for."""
    headers = msg.headers or {}
    if only and headers.get("ce-type") != only:
        return
    print(headers.get("ce-subject"), headers.get("ce-type"), msg.data.decode(), flush=True)


async def send(js, session, to, text, id=""):
    """Publishes a command and waits for the one word on it.

    With the same id it may be called again and again within two hours, and is
    one command.
    """
    id = id or str(uuid.uuid4())
    since = datetime.now(timezone.utc) - timedelta(minutes=1)
    body = json.dumps({"to": to, "text": text}).encode()
    ack = await js.publish(f"wa.send.{session}", body, headers={"Nats-Msg-Id": id})
    if ack.duplicate:  # its outcome may be there already
        since -= timedelta(hours=2)
    statuses = await ordered(js, f"wa.status.{session}", since)
    while True:
        msg = await statuses.next_msg(timeout=60)
        if msg.headers["Nats-Msg-Id"] != f"{session}:{ack.seq}:outcome":
            continue
        outcome = json.loads(msg.data)
        print(outcome["status"], outcome.get("id", outcome.get("error")))
        return 0 if outcome["status"] == "accepted" else 1


async def follow(js, session, durable, only=""):
    """Reads with a durable consumer: the server keeps how far it came, and what
    is not acknowledged comes again, also after a restart."""
    messages = await js.pull_subscribe(
        f"wa.recv.{session}", durable=durable, stream=STREAM, config=ConsumerConfig(ack_policy=AckPolicy.EXPLICIT)
    )
    while True:
        try:
            batch = await messages.fetch(100, timeout=5)
        except NatsTimeout:
            continue
        for msg in batch:
            show(msg, only)
            await msg.ack()  # only after it is handled


async def replay(js, session, since, only=""):
    """Reads what is there since a time."""
    messages = await ordered(js, f"wa.recv.{session}", datetime.fromisoformat(since.replace("Z", "+00:00")))
    pending = 1
    while pending:
        try:
            msg = await messages.next_msg(timeout=2)
        except NatsTimeout:
            return  # there was nothing
        show(msg, only)
        pending = msg.metadata.num_pending


async def main(args):
    commands = {"send": (send, 3), "follow": (follow, 2), "replay": (replay, 2)}
    run, least = commands.get(args[0] if args else "", (None, 0))
    if run is None or not least <= len(args) - 1 <= least + 1:
        print(__doc__, file=sys.stderr)
        return 2
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), max_reconnect_attempts=-1)
    try:
        return await run(nc.jetstream(), *args[1:]) or 0
    finally:
        await nc.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
