/*
 * Sends and receives WhatsApp messages through NATS.
 *
 *   client send SESSION TO TEXT [ID]       sends, waits for the outcome
 *   client follow SESSION DURABLE [TYPE]   goes on where DURABLE stopped
 *   client replay SESSION SINCE [TYPE]     everything since then (RFC 3339, UTC)
 *
 * TYPE is a ce-type, such as whatsapp.message.text.
 * Build: cc -o client client.c -lnats    (Debian: libnats-dev)
 */
#define _GNU_SOURCE
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STREAM "WA_RECV"
#define SECOND INT64_C(1000000000)

static const char *header(natsMsg *msg, const char *name)
{
    const char *value = "";
    return natsMsgHeader_Get(msg, name, &value) == NATS_OK ? value : "";
}

/* show prints a message of the type that is asked for. */
static void show(natsMsg *msg, const char *only)
{
    const char *type = header(msg, "ce-type");
    if (only != NULL && strcmp(type, only) != 0)
        return;
    printf("%s %s %.*s\n", header(msg, "ce-subject"), type, natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
    fflush(stdout);
}

/* quote writes a JSON string; out has room for six times the text and three more. */
static void quote(char *out, const char *text)
{
    *out++ = '"';
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\' || c < ' ')
            out += sprintf(out, "\\u%04x", c);
        else
            *out++ = (char)c;
    }
    strcpy(out, "\"");
}

/* ordered reads a subject from a time on, in order, and leaves nothing behind. */
static natsStatus ordered(natsSubscription **sub, jsCtx *js, const char *subject, int64_t since)
{
    jsSubOptions options;
    natsStatus s = jsSubOptions_Init(&options);
    if (s != NATS_OK)
        return s;
    options.Stream = STREAM;
    options.Ordered = true;
    options.Config.DeliverPolicy = js_DeliverByStartTime;
    options.Config.OptStartTime = since;
    return js_SubscribeSync(sub, js, subject, NULL, &options, NULL);
}

/*
 * sendText publishes a command and waits for the one word on it. With the same id
 * it may be called again and again within two hours, and is one command.
 */
static natsStatus sendText(jsCtx *js, const char *session, const char *to, const char *text, const char *id)
{
    char subject[128], outcome[128];
    char *qto = malloc(6 * strlen(to) + 3), *qtext = malloc(6 * strlen(text) + 3), *body = NULL;
    natsSubscription *statuses = NULL;
    jsPubOptions options;
    jsPubAck *ack = NULL;
    int64_t since = nats_NowInNanoSeconds() - 60 * SECOND, until = nats_Now() + 60 * 1000;
    natsStatus s = qto == NULL || qtext == NULL ? NATS_NO_MEMORY : jsPubOptions_Init(&options);

    if (s == NATS_OK) {
        options.MsgId = id;
        quote(qto, to);
        quote(qtext, text);
        snprintf(subject, sizeof subject, "wa.send.%s", session);
        if (asprintf(&body, "{\"to\":%s,\"text\":%s}", qto, qtext) < 0)
            body = NULL, s = NATS_NO_MEMORY;
    }
    if (s == NATS_OK)
        s = js_Publish(&ack, js, subject, body, (int)strlen(body), &options, NULL);
    if (s == NATS_OK) {
        if (ack->Duplicate) /* its outcome may be there already */
            since -= 2 * 3600 * SECOND;
        snprintf(outcome, sizeof outcome, "%s:%llu:outcome", session, (unsigned long long)ack->Sequence);
        snprintf(subject, sizeof subject, "wa.status.%s", session);
        s = ordered(&statuses, js, subject, since);
    }
    for (bool found = false; s == NATS_OK && !found;) {
        natsMsg *msg = NULL;
        int64_t left = until - nats_Now();
        s = left > 0 ? natsSubscription_NextMsg(&msg, statuses, left) : NATS_TIMEOUT;
        if (s == NATS_OK && strcmp(header(msg, "Nats-Msg-Id"), outcome) == 0) {
            found = true;
            show(msg, NULL);
            if (strcmp(header(msg, "ce-type"), "whatsapp.status.accepted") != 0)
                s = NATS_ERR;
        }
        natsMsg_Destroy(msg);
    }
    natsSubscription_Destroy(statuses);
    jsPubAck_Destroy(ack);
    free(qto);
    free(qtext);
    free(body);
    return s;
}

/*
 * follow reads with a durable consumer: the server keeps how far it came, and what
 * is not acknowledged comes again, also after a restart.
 */
static natsStatus follow(jsCtx *js, const char *session, const char *durable, const char *only)
{
    char subject[128];
    natsSubscription *sub = NULL;
    jsSubOptions options;
    natsStatus s = jsSubOptions_Init(&options);

    options.Stream = STREAM;
    snprintf(subject, sizeof subject, "wa.recv.%s", session);
    if (s == NATS_OK)
        s = js_PullSubscribe(&sub, js, subject, durable, NULL, &options, NULL);
    while (s == NATS_OK) {
        natsMsgList list = {0};
        s = natsSubscription_Fetch(&list, sub, 100, 5000, NULL);
        for (int i = 0; s == NATS_OK && i < list.Count; i++) {
            show(list.Msgs[i], only);
            s = natsMsg_Ack(list.Msgs[i], NULL); /* only after it is handled */
        }
        natsMsgList_Destroy(&list);
        if (s == NATS_TIMEOUT)
            s = NATS_OK; /* nothing new: ask again */
    }
    natsSubscription_Destroy(sub);
    return s;
}

/* replay reads what is there since a time. */
static natsStatus replay(jsCtx *js, const char *session, const char *since, const char *only)
{
    char subject[128];
    struct tm tm = {0};
    natsSubscription *sub = NULL;
    const char *rest = strptime(since, "%Y-%m-%dT%H:%M:%SZ", &tm);

    if (rest == NULL || *rest != '\0')
        return NATS_INVALID_ARG;
    snprintf(subject, sizeof subject, "wa.recv.%s", session);
    natsStatus s = ordered(&sub, js, subject, (int64_t)timegm(&tm) * SECOND);
    for (uint64_t pending = 1; s == NATS_OK && pending > 0;) {
        natsMsg *msg = NULL;
        jsMsgMetaData *meta = NULL;
        s = natsSubscription_NextMsg(&msg, sub, 2000);
        if (s == NATS_OK)
            s = natsMsg_GetMetaData(&meta, msg);
        if (s == NATS_OK) {
            show(msg, only);
            pending = meta->NumPending;
        }
        jsMsgMetaData_Destroy(meta);
        natsMsg_Destroy(msg);
    }
    natsSubscription_Destroy(sub);
    return s == NATS_TIMEOUT ? NATS_OK : s; /* there was nothing */
}

int main(int argc, char **argv)
{
    const char *url = getenv("NATS_URL");
    const char *last = argc > 4 ? argv[4] : NULL;
    char id[64];
    natsOptions *options = NULL;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;

    if (argc < 4 || (strcmp(argv[1], "send") == 0 && argc < 5)) {
        fprintf(stderr, "want send SESSION TO TEXT [ID], follow SESSION DURABLE [TYPE] or replay SESSION SINCE [TYPE]\n");
        return 2;
    }
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK)
        s = natsOptions_SetURL(options, url != NULL ? url : NATS_DEFAULT_URL);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(options, -1);
    if (s == NATS_OK)
        s = natsConnection_Connect(&nc, options);
    if (s == NATS_OK)
        s = natsConnection_JetStream(&js, nc, NULL);
    if (s == NATS_OK && strcmp(argv[1], "send") == 0) {
        snprintf(id, sizeof id, "c-%lld", (long long)nats_NowInNanoSeconds());
        s = sendText(js, argv[2], argv[3], argv[4], argc > 5 ? argv[5] : id);
    } else if (s == NATS_OK && strcmp(argv[1], "follow") == 0) {
        s = follow(js, argv[2], argv[3], last);
    } else if (s == NATS_OK && strcmp(argv[1], "replay") == 0) {
        s = replay(js, argv[2], argv[3], last);
    } else if (s == NATS_OK) {
        s = NATS_INVALID_ARG;
    }
    if (s != NATS_OK)
        fprintf(stderr, "client: %s\n", natsStatus_GetText(s));
    jsCtx_Destroy(js);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(options);
    nats_Close();
    return s == NATS_OK ? 0 : 1;
}
