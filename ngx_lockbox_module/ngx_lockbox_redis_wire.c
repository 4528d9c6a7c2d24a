/*
 * What goes over the connection of a client: replies in, commands out.
 */

#include "ngx_lockbox_redis_internal.h"


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
static void ngx_lockbox_redis_append(ngx_lockbox_redis_t *redis,
    ngx_lockbox_redis_piece_t *piece, const ngx_str_t *bytes);


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
    ngx_chain_t       *left;
    ngx_connection_t  *c;

    if (redis->out == NULL) {
        return NGX_OK;
    }

    c = redis->peer.connection;

    left = c->send_chain(c, redis->out, 0);
    if (left == NGX_CHAIN_ERROR) {
        return NGX_ERROR;
    }

    for ( /* void */ ; redis->out != left; redis->out = redis->out->next) {

        if (redis->out->buf->tag) {
            ngx_lockbox_redis_free_text(redis->out->buf->tag);
        }
    }

    if (left == NULL) {
        redis->out_last = &redis->out;
        ngx_lockbox_redis_loosen(redis);
    }

    return NGX_OK;
}


void
ngx_lockbox_redis_transmit(ngx_lockbox_redis_command_t *command)
{
    ngx_connection_t        *c;
    ngx_lockbox_redis_t     *redis;
    static const ngx_str_t   end = ngx_string(CRLF);

    redis = command->redis;
    c = redis->peer.connection;

    command->pieces[0].buf.tag = command;
    ngx_lockbox_redis_append(redis, &command->pieces[0], &command->text);

    if (command->lends) {
        ngx_lockbox_redis_append(redis, &command->pieces[1], &command->lent);
        ngx_lockbox_redis_append(redis, &command->pieces[2], &end);
    }

    command->end = redis->out_end;
    ngx_queue_insert_tail(&redis->pending, &command->queue);

    if (c->write->ready) {
        ngx_post_event(c->write, &ngx_posted_events);
    }
}


static void
ngx_lockbox_redis_append(ngx_lockbox_redis_t *redis,
    ngx_lockbox_redis_piece_t *piece, const ngx_str_t *bytes)
{
    if (bytes->len == 0) {
        return;
    }

    piece->buf.pos = bytes->data;
    piece->buf.last = bytes->data + bytes->len;
    piece->buf.memory = 1;

    piece->link.buf = &piece->buf;
    piece->link.next = NULL;

    *redis->out_last = &piece->link;
    redis->out_last = &piece->link.next;
    redis->out_end += (off_t) bytes->len;
}


size_t
ngx_lockbox_redis_unwritten(const ngx_lockbox_redis_t *redis)
{
    return (size_t) (redis->out_end - redis->peer.connection->sent);
}


void
ngx_lockbox_redis_discard(ngx_lockbox_redis_t *redis)
{
    redis->out = NULL;
    redis->out_last = &redis->out;
    redis->out_end = 0;

    ngx_lockbox_redis_loosen(redis);
}
