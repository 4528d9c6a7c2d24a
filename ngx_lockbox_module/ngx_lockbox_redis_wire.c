/*
 * What goes over the connection of a client: replies in, commands out.
 */

#include "ngx_lockbox_redis_internal.h"


/* Bytes of the output: what it begins with, and what it keeps. */
#define NGX_LOCKBOX_REDIS_OUT_MIN   4096
#define NGX_LOCKBOX_REDIS_OUT_KEEP  (64 * 1024)


static const char *ngx_lockbox_redis_read(ngx_lockbox_redis_t *redis);
static const char *ngx_lockbox_redis_take(ngx_lockbox_redis_t *redis,
    size_t n);
static const char *ngx_lockbox_redis_answer(ngx_lockbox_redis_t *redis,
    const ngx_lockbox_reply_t *reply);
static ngx_uint_t ngx_lockbox_redis_is_message(
    const ngx_lockbox_reply_t *reply);
static ngx_lockbox_redis_command_t *ngx_lockbox_redis_sent(
    ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_flush(ngx_lockbox_redis_t *redis);
static ngx_int_t ngx_lockbox_redis_reserve(ngx_lockbox_redis_t *redis,
    size_t n);


void
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


void
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


ngx_int_t
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


void
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
