/*
 * One connection to Redis, owned by nginx's event loop: a queue of commands,
 * a deadline for each whole reply, reconnection.  Nothing here blocks.
 *
 * The states follow each other through the handlers of events: connecting,
 * greeting (AUTH, SELECT, CLIENT SETNAME under way), ready, and without a
 * connection, waiting for the next attempt.  Whatever goes wrong ends in
 * ngx_lockbox_redis_fail(), which handlers of events call as the last thing
 * they do: what is found out deeper down is returned or noted, so that no
 * connection is closed under a function that still uses it.
 */

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>

#include "ngx_lockbox_redis.h"


/* Bytes; what is not sent by then is refused. */
#define NGX_LOCKBOX_REDIS_OUT_MAX    (4 * 1024 * 1024)
#define NGX_LOCKBOX_REDIS_OUT_KEEP   (64 * 1024)
#define NGX_LOCKBOX_REDIS_OUT_MIN    4096
#define NGX_LOCKBOX_REDIS_IN_SIZE    16384

/* Milliseconds between attempts to connect, without the jitter. */
#define NGX_LOCKBOX_REDIS_DELAY_MIN  100
#define NGX_LOCKBOX_REDIS_DELAY_MAX  2000

/*
 * Milliseconds for which a connection must have been good before its loss
 * counts as the first one: a peer that greets and then fails is called no
 * more often than one that does not answer.
 */
#define NGX_LOCKBOX_REDIS_STEADY     2000


struct ngx_lockbox_redis_command_s {
    ngx_queue_t                      queue;
    ngx_lockbox_redis_t             *redis;
    ngx_lockbox_redis_handler_pt     handler;
    void                            *data;
    ngx_str_t                        text;      /* until it is in "out" */
    off_t                            end;       /* its last byte's place */
    ngx_msec_t                       deadline;
    unsigned                         awaited:1;
};


struct ngx_lockbox_redis_s {
    /*
     * The debug log prints the "fd" of the connection that a timer's data is
     * taken for; it lies behind three pointers.
     */
    const ngx_lockbox_redis_conf_t  *conf;
    const char                      *name;
    ngx_lockbox_resp_t              *resp;
    ngx_socket_t                     ident;

    const ngx_lockbox_redis_listener_t  *listener;

    size_t                           max;
    ngx_log_t                        log;
    ngx_uint_t                       log_level;

    ngx_peer_connection_t            peer;
    u_char                          *in;
    ngx_buf_t                        out;

    ngx_queue_t                      pending;   /* in "out" or sent */
    ngx_queue_t                      held;      /* until ready */
    size_t                           held_bytes;
    ngx_uint_t                       awaited;

    /* the next attempt without a connection, else the next deadline */
    ngx_event_t                      timer;
    ngx_msec_t                       delay;
    ngx_msec_t                       since;

    /* why the connection must go, noted while replies are handed out */
    const char                      *fault;

    unsigned                         ready:1;
    unsigned                         down:1;
};


static void ngx_lockbox_redis_connect(ngx_lockbox_redis_t *redis);
static const char *ngx_lockbox_redis_dial(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_connect_handler(ngx_event_t *ev);
static ngx_int_t ngx_lockbox_redis_test_connect(ngx_connection_t *c);
static void ngx_lockbox_redis_connected(ngx_lockbox_redis_t *redis);

static ngx_int_t ngx_lockbox_redis_greet(ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_greet_with(ngx_lockbox_redis_t *redis,
    const ngx_str_t *argv, size_t argc, ngx_lockbox_redis_handler_pt handler);
static void ngx_lockbox_redis_auth_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_select_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_setname_handler(void *data,
    const ngx_lockbox_reply_t *reply);
static ngx_uint_t ngx_lockbox_redis_is_ok(const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_ready(ngx_lockbox_redis_t *redis);

static void ngx_lockbox_redis_read_handler(ngx_event_t *rev);
static const char *ngx_lockbox_redis_read(ngx_lockbox_redis_t *redis);
static const char *ngx_lockbox_redis_take(ngx_lockbox_redis_t *redis,
    size_t n);
static const char *ngx_lockbox_redis_answer(ngx_lockbox_redis_t *redis,
    const ngx_lockbox_reply_t *reply);
static ngx_uint_t ngx_lockbox_redis_is_message(
    const ngx_lockbox_reply_t *reply);
static ngx_lockbox_redis_command_t *ngx_lockbox_redis_sent(
    ngx_lockbox_redis_t *redis);

static void ngx_lockbox_redis_write_handler(ngx_event_t *wev);
static ngx_int_t ngx_lockbox_redis_flush(ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_transmit(
    ngx_lockbox_redis_command_t *command);
static ngx_int_t ngx_lockbox_redis_reserve(ngx_lockbox_redis_t *redis,
    size_t n);
static void ngx_lockbox_redis_discard(ngx_buf_t *out);

static void ngx_lockbox_redis_arm(ngx_lockbox_redis_t *redis,
    ngx_msec_t deadline);
static ngx_uint_t ngx_lockbox_redis_late(
    const ngx_lockbox_redis_command_t *command);
static void ngx_lockbox_redis_deadline_handler(ngx_event_t *ev);
static void ngx_lockbox_redis_redial_handler(ngx_event_t *ev);

static void ngx_lockbox_redis_fail(ngx_lockbox_redis_t *redis,
    const char *fault);
static void ngx_lockbox_redis_close(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_back_off(ngx_lockbox_redis_t *redis);
static void ngx_lockbox_redis_orphan(ngx_lockbox_redis_t *redis);

static ngx_lockbox_redis_command_t *ngx_lockbox_redis_command(
    ngx_lockbox_redis_t *redis, const ngx_str_t *argv, size_t argc,
    ngx_lockbox_redis_handler_pt handler, void *data);
static ngx_lockbox_redis_command_t *ngx_lockbox_redis_head(
    ngx_queue_t *queue);
static void ngx_lockbox_redis_unhold(ngx_lockbox_redis_command_t *command);
static void ngx_lockbox_redis_finish(ngx_lockbox_redis_command_t *command,
    const ngx_lockbox_reply_t *reply);
static void ngx_lockbox_redis_free(ngx_lockbox_redis_command_t *command);
static void ngx_lockbox_redis_free_text(
    ngx_lockbox_redis_command_t *command);
static u_char *ngx_lockbox_redis_log_error(ngx_log_t *log, u_char *buf,
    size_t len);


ngx_lockbox_redis_t *
ngx_lockbox_redis_create(const ngx_lockbox_redis_conf_t *conf,
    const char *name, size_t max,
    const ngx_lockbox_redis_listener_t *listener, ngx_log_t *log)
{
    ngx_lockbox_redis_t  *redis;

    redis = ngx_calloc(sizeof(ngx_lockbox_redis_t), log);
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;
    redis->name = name;
    redis->max = max;
    redis->listener = listener;
    redis->ident = (ngx_socket_t) -1;
    redis->delay = NGX_LOCKBOX_REDIS_DELAY_MIN;

    redis->log = *log;
    redis->log.handler = ngx_lockbox_redis_log_error;
    redis->log.data = redis;
    redis->log.action = NULL;
    redis->log_level = log->log_level;

    ngx_queue_init(&redis->pending);
    ngx_queue_init(&redis->held);

    redis->timer.data = redis;
    redis->timer.log = &redis->log;
    redis->timer.cancelable = 1;

    redis->peer.sockaddr = conf->addr->sockaddr;
    redis->peer.socklen = conf->addr->socklen;
    redis->peer.name = &redis->conf->addr->name;
    redis->peer.get = ngx_event_get_peer;
    redis->peer.log = &redis->log;
    redis->peer.log_error = NGX_ERROR_ERR;

    ngx_lockbox_redis_connect(redis);

    return redis;
}


void
ngx_lockbox_redis_destroy(ngx_lockbox_redis_t *redis)
{
    ngx_lockbox_redis_close(redis);
    ngx_lockbox_redis_orphan(redis);

    ngx_free(redis);
}


ngx_lockbox_redis_command_t *
ngx_lockbox_redis_send(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    size_t                        unsent;
    ngx_lockbox_redis_command_t  *command;

    /*
     * Nothing waits for a future attempt, nor makes one, whether the worker
     * drains or not: refused at once is better than refused late
     */
    if (redis->peer.connection == NULL) {
        return NULL;
    }

    command = ngx_lockbox_redis_command(redis, argv, argc, handler, data);
    if (command == NULL) {
        return NULL;
    }

    unsent = redis->held_bytes + (size_t) (redis->out.last - redis->out.pos);

    if (unsent + command->text.len > NGX_LOCKBOX_REDIS_OUT_MAX) {
        ngx_lockbox_redis_free(command);
        return NULL;
    }

    command->deadline = ngx_current_msec + redis->conf->timeout;

    if (!redis->ready) {
        ngx_queue_insert_tail(&redis->held, &command->queue);
        redis->held_bytes += command->text.len;

    } else if (ngx_lockbox_redis_transmit(command) != NGX_OK) {
        ngx_lockbox_redis_free(command);
        return NULL;
    }

    /* the worker must not exit while somebody waits */
    command->awaited = 1;
    redis->awaited++;
    redis->timer.cancelable = 0;

    ngx_lockbox_redis_arm(redis, command->deadline);

    return command;
}


void
ngx_lockbox_redis_reject(ngx_lockbox_redis_t *redis, const char *fault)
{
    /* a connection that is gone already has no fault to pass on to the next */
    if (redis->peer.connection) {
        redis->fault = fault;
    }
}


void
ngx_lockbox_redis_cancel(ngx_lockbox_redis_command_t *command)
{
    command->handler = NULL;
    ngx_lockbox_redis_spare(command);
}


void
ngx_lockbox_redis_spare(ngx_lockbox_redis_command_t *command)
{
    ngx_lockbox_redis_t  *redis;

    if (command->awaited) {
        redis = command->redis;

        command->awaited = 0;
        redis->awaited--;
        redis->timer.cancelable = (redis->awaited == 0);
    }
}


static void
ngx_lockbox_redis_connect(ngx_lockbox_redis_t *redis)
{
    const char  *fault;

    redis->log.action = "connecting to";

    fault = ngx_lockbox_redis_dial(redis);
    if (fault) {
        ngx_lockbox_redis_fail(redis, fault);
    }
}


/* The steps of an attempt; what they made is undone by the caller. */
static const char *
ngx_lockbox_redis_dial(ngx_lockbox_redis_t *redis)
{
    ngx_int_t          rc;
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    rc = ngx_event_connect_peer(&redis->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return "cannot connect";
    }

    c = redis->peer.connection;
    c->data = redis;
    c->read->handler = ngx_lockbox_redis_connect_handler;
    c->write->handler = ngx_lockbox_redis_connect_handler;

    pool = ngx_create_pool(NGX_LOCKBOX_REDIS_IN_SIZE, &redis->log);
    if (pool == NULL) {
        return "no memory";
    }

    c->pool = pool;

    redis->in = ngx_palloc(pool, NGX_LOCKBOX_REDIS_IN_SIZE);
    if (redis->in == NULL) {
        return "no memory";
    }

    redis->resp = ngx_lockbox_resp_create(redis->max);
    if (redis->resp == NULL) {
        return "no memory";
    }

    redis->timer.handler = ngx_lockbox_redis_deadline_handler;

    if (ngx_lockbox_redis_greet(redis) != NGX_OK) {
        return "no memory";
    }

    if (rc == NGX_OK) {
        ngx_lockbox_redis_connected(redis);
    }

    return NULL;
}


static void
ngx_lockbox_redis_connect_handler(ngx_event_t *ev)
{
    ngx_connection_t     *c;
    ngx_lockbox_redis_t  *redis;

    c = ev->data;
    redis = c->data;

    if (ngx_lockbox_redis_test_connect(c) != NGX_OK) {
        ngx_lockbox_redis_fail(redis, "cannot connect");
        return;
    }

    ngx_lockbox_redis_connected(redis);
}


static ngx_int_t
ngx_lockbox_redis_test_connect(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    /* Solaris reports the error as one of getsockopt() itself */
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        (void) ngx_connection_error(c, err, "connect() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_lockbox_redis_connected(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q;
    ngx_connection_t             *c;
    ngx_lockbox_redis_command_t  *command;

    c = redis->peer.connection;

    ngx_log_debug0(NGX_LOG_DEBUG_EVENT, &redis->log, 0,
                   "lockbox redis connected");

    redis->log.action = "greeting";

    c->read->handler = ngx_lockbox_redis_read_handler;
    c->write->handler = ngx_lockbox_redis_write_handler;

    /* only the greeting is there, and its time begins now */
    for (q = ngx_queue_head(&redis->pending);
         q != ngx_queue_sentinel(&redis->pending);
         q = ngx_queue_next(q))
    {
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);
        command->deadline = ngx_current_msec + redis->conf->timeout;

        ngx_lockbox_redis_arm(redis, command->deadline);
    }

    /* small commands must not wait for each other; failing costs time only */
    (void) ngx_tcp_nodelay(c);

    /*
     * The event that told of the connection may have told of bytes or of an
     * end as well.  Redis does not speak first: what is there before the
     * greeting is sent is a surplus.
     */
    if (c->read->ready) {
        ngx_lockbox_redis_read_handler(c->read);

        if (redis->peer.connection == NULL) {
            return;
        }
    }

    /* posted in a worker that is just starting, it would wait for an event */
    ngx_lockbox_redis_write_handler(c->write);
}


/*
 * The commands that make a connection usable.  They have answered before any
 * other is sent: behind a failed SELECT another database would answer, behind
 * a failed AUTH another user.
 */
static ngx_int_t
ngx_lockbox_redis_greet(ngx_lockbox_redis_t *redis)
{
    size_t                           n;
    u_char                           db[NGX_INT_T_LEN];
    u_char                           name[64];
    ngx_str_t                        argv[3];
    const ngx_lockbox_redis_conf_t  *conf;

    conf = redis->conf;

    if (conf->password.len) {
        n = 0;
        ngx_str_set(&argv[n], "AUTH");
        n++;

        if (conf->user.len) {
            argv[n++] = conf->user;
        }

        argv[n++] = conf->password;

        if (ngx_lockbox_redis_greet_with(redis, argv, n,
                                         ngx_lockbox_redis_auth_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->db) {
        ngx_str_set(&argv[0], "SELECT");
        argv[1].data = db;
        argv[1].len = ngx_sprintf(db, "%ui", conf->db) - db;

        if (ngx_lockbox_redis_greet_with(redis, argv, 2,
                                         ngx_lockbox_redis_select_handler)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_str_set(&argv[0], "CLIENT");
    ngx_str_set(&argv[1], "SETNAME");
    argv[2].data = name;
    argv[2].len = ngx_snprintf(name, sizeof(name), "lockbox-%s", redis->name)
                  - name;

    return ngx_lockbox_redis_greet_with(redis, argv, 3,
                                        ngx_lockbox_redis_setname_handler);
}


static ngx_int_t
ngx_lockbox_redis_greet_with(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler)
{
    ngx_lockbox_redis_command_t  *command;

    command = ngx_lockbox_redis_command(redis, argv, argc, handler, redis);
    if (command == NULL) {
        return NGX_ERROR;
    }

    if (ngx_lockbox_redis_transmit(command) != NGX_OK) {
        ngx_lockbox_redis_free(command);
        return NGX_ERROR;
    }

    command->deadline = ngx_current_msec + redis->conf->connect_timeout;
    ngx_lockbox_redis_arm(redis, command->deadline);

    return NGX_OK;
}


/*
 * The text of the error stays unsaid: "unknown command 'AUTH', with args
 * beginning with: ..." has the password in it.
 */
static void
ngx_lockbox_redis_auth_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply && !ngx_lockbox_redis_is_ok(reply)) {
        redis->fault = "AUTH refused";
    }
}


static void
ngx_lockbox_redis_select_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply && !ngx_lockbox_redis_is_ok(reply)) {
        redis->fault = "SELECT refused";
    }
}


/* The name is for those who look at CLIENT LIST; a user may lack the right. */
static void
ngx_lockbox_redis_setname_handler(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_t  *redis = data;

    if (reply == NULL) {
        return;
    }

    if (reply->type != NGX_LOCKBOX_RESP_ERROR
        && !ngx_lockbox_redis_is_ok(reply))
    {
        redis->fault = "unexpected reply to CLIENT SETNAME";
        return;
    }

    ngx_lockbox_redis_ready(redis);
}


static ngx_uint_t
ngx_lockbox_redis_is_ok(const ngx_lockbox_reply_t *reply)
{
    return reply->type == NGX_LOCKBOX_RESP_STATUS
           && reply->text.len == 2
           && ngx_memcmp(reply->text.data, "OK", 2) == 0;
}


static void
ngx_lockbox_redis_ready(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q, *next;
    ngx_lockbox_redis_command_t  *command;

    redis->ready = 1;
    redis->since = ngx_current_msec;
    redis->log.action = "using";

    if (redis->down) {
        redis->down = 0;
        redis->log.log_level = redis->log_level;

        ngx_log_error(NGX_LOG_NOTICE, &redis->log, 0,
                      "Redis is back in service");
    }

    for (q = ngx_queue_head(&redis->held);
         q != ngx_queue_sentinel(&redis->held);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        /* the timer of this very loop sees to it */
        if (ngx_lockbox_redis_late(command)) {
            continue;
        }

        ngx_lockbox_redis_unhold(command);

        if (command->handler == NULL) {
            ngx_lockbox_redis_free(command);
            continue;
        }

        if (ngx_lockbox_redis_transmit(command) != NGX_OK) {
            ngx_queue_insert_tail(&redis->pending, &command->queue);
            redis->fault = "no memory";
            return;
        }
    }

    if (redis->listener) {
        redis->listener->ready(redis->listener->data);
    }
}


static void
ngx_lockbox_redis_read_handler(ngx_event_t *rev)
{
    const char           *fault;
    ngx_connection_t     *c;
    ngx_lockbox_redis_t  *redis;

    c = rev->data;
    redis = c->data;

    fault = ngx_lockbox_redis_read(redis);

    if (fault == NULL && ngx_handle_read_event(rev, 0) != NGX_OK) {
        fault = "cannot read";
    }

    if (fault) {
        ngx_lockbox_redis_fail(redis, fault);
    }
}


static const char *
ngx_lockbox_redis_read(ngx_lockbox_redis_t *redis)
{
    ssize_t            n;
    const char        *fault;
    ngx_connection_t  *c;

    c = redis->peer.connection;

    for ( ;; ) {
        n = c->recv(c, redis->in, NGX_LOCKBOX_REDIS_IN_SIZE);

        if (n == NGX_AGAIN) {
            return NULL;
        }

        if (n == 0) {
            return "closed by the peer";
        }

        if (n < 0) {
            return "cannot read";
        }

        fault = ngx_lockbox_redis_take(redis, n);
        if (fault) {
            return fault;
        }
    }
}


static const char *
ngx_lockbox_redis_take(ngx_lockbox_redis_t *redis, size_t n)
{
    ngx_int_t             rc;
    const char           *fault;
    ngx_lockbox_reply_t   reply;

    if (ngx_lockbox_resp_feed(redis->resp, redis->in, n) != NGX_OK) {
        return "no memory";
    }

    for ( ;; ) {
        rc = ngx_lockbox_resp_next(redis->resp, &reply);

        if (rc == NGX_ERROR) {
            return "malformed or oversized reply";
        }

        if (rc == NGX_AGAIN) {
            break;
        }

        fault = ngx_lockbox_redis_answer(redis, &reply);
        ngx_lockbox_resp_release(&reply);

        if (fault) {
            return fault;
        }
    }

    /*
     * The beginning of a reply that nobody has asked for yet; a listener must
     * see the rest to know
     */
    if (redis->listener == NULL
        && ngx_lockbox_resp_left(redis->resp)
        && ngx_lockbox_redis_sent(redis) == NULL)
    {
        return "surplus reply";
    }

    return NULL;
}


static const char *
ngx_lockbox_redis_answer(ngx_lockbox_redis_t *redis,
    const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_command_t  *command;

    if (redis->listener && ngx_lockbox_redis_is_message(reply)) {
        redis->listener->message(redis->listener->data, reply);
        return redis->fault;
    }

    command = ngx_lockbox_redis_sent(redis);
    if (command == NULL) {
        return "surplus reply";
    }

    /*
     * A worker that was held up reads what has come meanwhile before its
     * timers run; an answer that old is none
     */
    if (ngx_lockbox_redis_late(command)) {
        return "no reply in time";
    }

    ngx_queue_remove(&command->queue);
    ngx_lockbox_redis_finish(command, reply);

    return redis->fault;
}


/* No command that a client which listens may send is answered like this. */
static ngx_uint_t
ngx_lockbox_redis_is_message(const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_reply_t  kind;

    return ngx_lockbox_resp_at(reply, 0, &kind) == NGX_OK
           && kind.type == NGX_LOCKBOX_RESP_STRING
           && kind.text.len == sizeof("message") - 1
           && ngx_memcmp(kind.text.data, "message", kind.text.len) == 0;
}


/*
 * The command that the next reply is for.  One that is queued but not on its
 * way to Redis cannot be meant: a handler may have sent it after the bytes of
 * a surplus reply had been read.
 */
static ngx_lockbox_redis_command_t *
ngx_lockbox_redis_sent(ngx_lockbox_redis_t *redis)
{
    ngx_lockbox_redis_command_t  *command;

    if (ngx_queue_empty(&redis->pending)) {
        return NULL;
    }

    command = ngx_lockbox_redis_head(&redis->pending);

    return command->end <= redis->peer.connection->sent ? command : NULL;
}


static void
ngx_lockbox_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t     *c;
    ngx_lockbox_redis_t  *redis;

    c = wev->data;
    redis = c->data;

    if (ngx_lockbox_redis_flush(redis) != NGX_OK
        || ngx_handle_write_event(wev, 0) != NGX_OK)
    {
        ngx_lockbox_redis_fail(redis, "cannot write");
    }
}


static ngx_int_t
ngx_lockbox_redis_flush(ngx_lockbox_redis_t *redis)
{
    ssize_t            n;
    ngx_buf_t         *out;
    ngx_connection_t  *c;

    c = redis->peer.connection;
    out = &redis->out;

    while (out->pos < out->last) {
        n = c->send(c, out->pos, out->last - out->pos);

        if (n == NGX_AGAIN) {
            return NGX_OK;
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        if (!redis->ready) {
            /* the password was among it */
            ngx_explicit_memzero(out->pos, n);
        }

        out->pos += n;
    }

    out->pos = out->start;
    out->last = out->start;

    if (out->end - out->start > NGX_LOCKBOX_REDIS_OUT_KEEP) {
        ngx_lockbox_redis_discard(out);
    }

    return NGX_OK;
}


/*
 * Moves the command's text to the output, which is written when the handlers
 * of this loop are done, so that their commands go out together.
 */
static ngx_int_t
ngx_lockbox_redis_transmit(ngx_lockbox_redis_command_t *command)
{
    ngx_buf_t            *out;
    ngx_connection_t     *c;
    ngx_lockbox_redis_t  *redis;

    redis = command->redis;
    c = redis->peer.connection;
    out = &redis->out;

    if (ngx_lockbox_redis_reserve(redis, command->text.len) != NGX_OK) {
        return NGX_ERROR;
    }

    out->last = ngx_cpymem(out->last, command->text.data, command->text.len);
    ngx_lockbox_redis_free_text(command);

    command->end = c->sent + (out->last - out->pos);
    ngx_queue_insert_tail(&redis->pending, &command->queue);

    if (c->write->ready) {
        ngx_post_event(c->write, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_redis_reserve(ngx_lockbox_redis_t *redis, size_t n)
{
    size_t      size, used;
    u_char     *start;
    ngx_buf_t  *out;

    out = &redis->out;

    if ((size_t) (out->end - out->last) >= n) {
        return NGX_OK;
    }

    used = out->last - out->pos;

    for (size = NGX_LOCKBOX_REDIS_OUT_MIN; size < used + n; size *= 2) {
        /* void */
    }

    start = ngx_alloc(size, &redis->log);
    if (start == NULL) {
        return NGX_ERROR;
    }

    if (used) {
        ngx_memcpy(start, out->pos, used);
    }

    ngx_lockbox_redis_discard(out);

    out->start = start;
    out->pos = start;
    out->last = start + used;
    out->end = start + size;

    return NGX_OK;
}


static void
ngx_lockbox_redis_discard(ngx_buf_t *out)
{
    if (out->start) {
        ngx_explicit_memzero(out->start, out->last - out->start);
        ngx_free(out->start);
    }

    out->start = NULL;
    out->pos = NULL;
    out->last = NULL;
    out->end = NULL;
}


/*
 * Makes the timer run no later than at the deadline.  One that runs earlier
 * stays: it looks at the queues and is set anew, once a timeout and not once
 * a command.
 */
static void
ngx_lockbox_redis_arm(ngx_lockbox_redis_t *redis, ngx_msec_t deadline)
{
    ngx_event_t     *timer;
    ngx_msec_int_t   left;

    timer = &redis->timer;

    if (timer->timer_set) {

        if ((ngx_msec_int_t) (timer->timer.key - deadline) <= 0) {
            return;
        }

        ngx_del_timer(timer);
    }

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_add_timer(timer, ngx_max(left, 0));
}


static ngx_uint_t
ngx_lockbox_redis_late(const ngx_lockbox_redis_command_t *command)
{
    return (ngx_msec_int_t) (command->deadline - ngx_current_msec) <= 0;
}


static void
ngx_lockbox_redis_deadline_handler(ngx_event_t *ev)
{
    ngx_queue_t                  *q, *next;
    ngx_lockbox_redis_t          *redis;
    ngx_lockbox_redis_command_t  *command;

    redis = ev->data;

    if (!ngx_queue_empty(&redis->pending)) {
        command = ngx_lockbox_redis_head(&redis->pending);

        if (ngx_lockbox_redis_late(command)) {
            /* a reply that comes now would be taken for that of another */
            ngx_lockbox_redis_fail(redis, "no reply in time");
            return;
        }

        ngx_lockbox_redis_arm(redis, command->deadline);
    }

    for (q = ngx_queue_head(&redis->held);
         q != ngx_queue_sentinel(&redis->held);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        if (!ngx_lockbox_redis_late(command)) {
            ngx_lockbox_redis_arm(redis, command->deadline);
            break;
        }

        ngx_lockbox_redis_unhold(command);
        ngx_lockbox_redis_finish(command, NULL);
    }
}


/*
 * A worker that drains goes on trying: responses that outlive a reload still
 * need Redis.  The timer is cancelable, so no worker stays for it.
 */
static void
ngx_lockbox_redis_redial_handler(ngx_event_t *ev)
{
    ngx_lockbox_redis_connect(ev->data);
}


static void
ngx_lockbox_redis_fail(ngx_lockbox_redis_t *redis, const char *fault)
{
    if (!redis->down) {
        ngx_log_error(NGX_LOG_ERR, &redis->log, 0,
                      "Redis is out of service: %s", fault);

        /* nginx itself logs each failed attempt: once is enough */
        redis->down = 1;
        redis->log.log_level = ngx_min(redis->log_level, NGX_LOG_ALERT);
    }

    if (redis->ready
        && ngx_current_msec - redis->since >= NGX_LOCKBOX_REDIS_STEADY)
    {
        redis->delay = NGX_LOCKBOX_REDIS_DELAY_MIN;
    }

    ngx_lockbox_redis_close(redis);
    ngx_lockbox_redis_back_off(redis);

    if (redis->listener) {
        redis->listener->lost(redis->listener->data);
    }

    /* the handlers find a client that refuses commands */
    ngx_lockbox_redis_orphan(redis);
}


static void
ngx_lockbox_redis_close(ngx_lockbox_redis_t *redis)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    if (redis->resp) {
        ngx_lockbox_resp_destroy(redis->resp);
        redis->resp = NULL;
    }

    ngx_lockbox_redis_discard(&redis->out);

    c = redis->peer.connection;

    if (c) {
        pool = c->pool;

        ngx_close_connection(c);
        redis->peer.connection = NULL;

        if (pool) {
            ngx_destroy_pool(pool);
        }
    }

    redis->in = NULL;
    redis->fault = NULL;
    redis->ready = 0;
}


static void
ngx_lockbox_redis_back_off(ngx_lockbox_redis_t *redis)
{
    ngx_msec_t  delay;

    /* workers that lost Redis together must not return together */
    delay = redis->delay * 3 / 4;
    delay += ngx_random() % (redis->delay / 2 + 1);

    redis->delay = ngx_min(redis->delay * 2, NGX_LOCKBOX_REDIS_DELAY_MAX);

    redis->timer.handler = ngx_lockbox_redis_redial_handler;
    ngx_add_timer(&redis->timer, delay);
}


/*
 * Calls all who wait.  The commands lie in a list of their own meanwhile, and
 * one that a handler cancels stays there: the next one is always good.
 */
static void
ngx_lockbox_redis_orphan(ngx_lockbox_redis_t *redis)
{
    ngx_queue_t                  *q, *next, orphans;
    ngx_lockbox_redis_command_t  *command;

    ngx_queue_init(&orphans);

    if (!ngx_queue_empty(&redis->pending)) {
        ngx_queue_add(&orphans, &redis->pending);
        ngx_queue_init(&redis->pending);
    }

    if (!ngx_queue_empty(&redis->held)) {
        ngx_queue_add(&orphans, &redis->held);
        ngx_queue_init(&redis->held);
    }

    redis->held_bytes = 0;

    for (q = ngx_queue_head(&orphans);
         q != ngx_queue_sentinel(&orphans);
         q = next)
    {
        next = ngx_queue_next(q);
        command = ngx_queue_data(q, ngx_lockbox_redis_command_t, queue);

        ngx_lockbox_redis_finish(command, NULL);
    }
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_redis_command(ngx_lockbox_redis_t *redis, const ngx_str_t *argv,
    size_t argc, ngx_lockbox_redis_handler_pt handler, void *data)
{
    ngx_lockbox_redis_command_t  *command;

    command = ngx_calloc(sizeof(ngx_lockbox_redis_command_t), &redis->log);
    if (command == NULL) {
        return NULL;
    }

    if (ngx_lockbox_resp_command(argv, argc, &command->text) != NGX_OK) {
        ngx_free(command);
        return NULL;
    }

    command->redis = redis;
    command->handler = handler;
    command->data = data;

    return command;
}


static ngx_lockbox_redis_command_t *
ngx_lockbox_redis_head(ngx_queue_t *queue)
{
    /*
     * The analyzer does not see that unlinking the head writes to the queue,
     * and so takes the next head for the one just freed
     */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    return ngx_queue_data(ngx_queue_head(queue), ngx_lockbox_redis_command_t,
                          queue);
}


static void
ngx_lockbox_redis_unhold(ngx_lockbox_redis_command_t *command)
{
    ngx_queue_remove(&command->queue);
    command->redis->held_bytes -= command->text.len;
}


/*
 * The handler is called last of all that touches the client, and a handle
 * that is cancelled within it is still good.
 */
static void
ngx_lockbox_redis_finish(ngx_lockbox_redis_command_t *command,
    const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_redis_handler_pt  handler;

    handler = command->handler;
    ngx_lockbox_redis_cancel(command);

    if (handler) {
        handler(command->data, reply);
    }

    ngx_lockbox_redis_free(command);
}


static void
ngx_lockbox_redis_free(ngx_lockbox_redis_command_t *command)
{
    ngx_lockbox_redis_free_text(command);
    ngx_free(command);
}


static void
ngx_lockbox_redis_free_text(ngx_lockbox_redis_command_t *command)
{
    if (command->text.data) {
        if (!command->redis->ready) {
            /* it may be the password's */
            ngx_explicit_memzero(command->text.data, command->text.len);
        }

        ngx_lockbox_resp_command_free(&command->text);
    }
}


static u_char *
ngx_lockbox_redis_log_error(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char               *p;
    ngx_lockbox_redis_t  *redis;

    redis = log->data;

    p = ngx_snprintf(buf, len, " while %s lockbox redis \"%s\", server: %V",
                     log->action, redis->name, &redis->conf->addr->name);

    return p;
}
