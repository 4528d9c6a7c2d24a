/*
 * Events as they happen: Server-Sent Events.
 *
 * What a worker hears from Redis is only that something has happened, to
 * somebody.  Each stream then asks for its own next events, in a memory that
 * is given back when they are sent; while some are unsent it does not ask, so
 * a slow reader costs no more than one page.
 */

#include "ngx_http_lockbox_admin_events.h"
#include "ngx_http_lockbox_admin_query.h"
#include "ngx_http_lockbox_headers.h"
#include "ngx_lockbox_json.h"
#include "ngx_lockbox_text.h"


#define NGX_HTTP_LOCKBOX_WAKE              "lockbox:wake"

/* Bytes; nobody says more there than that something has happened. */
#define NGX_HTTP_LOCKBOX_WAKE_MAX          65536

#define NGX_HTTP_LOCKBOX_STREAM_POOL       4096
#define NGX_HTTP_LOCKBOX_STREAM_PAGE       50

/* Milliseconds: how often is looked after streams that may end meanwhile, */
#define NGX_HTTP_LOCKBOX_STREAM_TICK       500

/* between two questions of one stream, while there is always something new, */
#define NGX_HTTP_LOCKBOX_STREAM_PACE       200

/* until it asks unwoken: because nothing can wake it, and to be sure, */
#define NGX_HTTP_LOCKBOX_STREAM_DEAF       3000
#define NGX_HTTP_LOCKBOX_STREAM_SILENT     30000

/* and until it says that it is still there. */
#define NGX_HTTP_LOCKBOX_STREAM_KEEPALIVE  15000

/* Milliseconds until a client comes back: apart from each other. */
#define NGX_HTTP_LOCKBOX_STREAM_RETRY      1000
#define NGX_HTTP_LOCKBOX_STREAM_JITTER     2000

/* What a client is told that has missed something; no CloudEvent. */
#define NGX_HTTP_LOCKBOX_STREAM_GAP                                          \
    "event: gap\ndata: {\"gap\":true}\n"


struct ngx_http_lockbox_streams_s {
    /*
     * The debug log prints the "fd" of the connection that a timer's data is
     * taken for; it lies behind three pointers.
     */
    const ngx_http_lockbox_admin_conf_t  *conf;
    ngx_cycle_t                          *cycle;
    ngx_lockbox_redis_t                  *redis;    /* NULL: not needed yet */
    ngx_socket_t                          ident;

    ngx_lockbox_redis_listener_t          listener;
    ngx_event_t                           timer;
    ngx_event_t                           woken;
    ngx_queue_t                           queue;
    ngx_uint_t                            n;

    unsigned                              subscribed:1;
};


typedef struct {
    ngx_queue_t                     queue;
    ngx_http_lockbox_streams_t     *streams;     /* NULL: has left them */
    ngx_http_lockbox_admin_call_t  *call;

    ngx_str_t                       cursor;
    u_char                          place[NGX_HTTP_LOCKBOX_CURSOR_MAX];

    ngx_pool_t                     *page;        /* being asked for or sent */
    ngx_chain_t                    *free;
    ngx_chain_t                    *busy;
    ngx_msec_t                      asked;
    ngx_msec_t                      sent;

    unsigned                        named:1;     /* by Last-Event-ID */
    unsigned                        open:1;
    unsigned                        due:1;       /* something may be new */
    unsigned                        more:1;      /* something is */
} ngx_http_lockbox_stream_t;


static ngx_int_t ngx_http_lockbox_stream_place(
    ngx_http_lockbox_admin_call_t *call, ngx_http_lockbox_stream_t *stream,
    const ngx_str_t *cursor, ngx_lockbox_fault_t *fault);
static ngx_uint_t ngx_http_lockbox_stream_printable(const ngx_str_t *text);
static const char *ngx_http_lockbox_stream_room(
    const ngx_http_lockbox_streams_t *streams,
    const ngx_lockbox_identity_t *identity);
static ngx_int_t ngx_http_lockbox_stream_enter(
    ngx_http_lockbox_stream_t *stream, ngx_http_lockbox_streams_t *streams);
static void ngx_http_lockbox_stream_leave(void *data);
static void ngx_http_lockbox_stream_cleanup(void *data);
static void ngx_http_lockbox_stream_begin(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_http_lockbox_stream_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_stream_reading(ngx_http_request_t *r);
static void ngx_http_lockbox_stream_ask(ngx_http_lockbox_stream_t *stream);
static void ngx_http_lockbox_stream_answered(void *data,
    const ngx_lockbox_workflow_result_t *result);
static void ngx_http_lockbox_stream_take(ngx_http_lockbox_stream_t *stream,
    const ngx_lockbox_workflow_result_t *result);
static ngx_int_t ngx_http_lockbox_stream_events(
    ngx_http_lockbox_stream_t *stream, const json_t *events, ngx_uint_t gap);
static ngx_int_t ngx_http_lockbox_stream_event(
    ngx_http_lockbox_stream_t *stream, const json_t *fields, ngx_str_t *text);
static void ngx_http_lockbox_stream_drop_page(
    ngx_http_lockbox_stream_t *stream);
static void ngx_http_lockbox_stream_send(ngx_http_lockbox_stream_t *stream,
    const ngx_str_t *text);
static void ngx_http_lockbox_stream_writer(ngx_http_request_t *r);
static void ngx_http_lockbox_stream_written(ngx_http_lockbox_stream_t *stream,
    ngx_int_t rc);
static void ngx_http_lockbox_stream_wait(ngx_http_lockbox_stream_t *stream);
static ngx_uint_t ngx_http_lockbox_stream_unsent(
    const ngx_http_lockbox_stream_t *stream);
static void ngx_http_lockbox_stream_end(ngx_http_lockbox_stream_t *stream);
static void ngx_http_lockbox_streams_tick(ngx_event_t *ev);
static void ngx_http_lockbox_stream_check(ngx_http_lockbox_stream_t *stream);
static void ngx_http_lockbox_streams_listen(
    ngx_http_lockbox_streams_t *streams);
static void ngx_http_lockbox_streams_ready(void *data);
static void ngx_http_lockbox_streams_subscribed(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_http_lockbox_streams_lost(void *data);
static void ngx_http_lockbox_streams_message(void *data,
    const ngx_lockbox_reply_t *reply);
static void ngx_http_lockbox_streams_woken(ngx_event_t *ev);


static ngx_str_t  ngx_http_lockbox_stream_comment = ngx_string(":\n\n");


ngx_http_lockbox_streams_t *
ngx_http_lockbox_streams_create(ngx_cycle_t *cycle,
    const ngx_http_lockbox_admin_conf_t *conf)
{
    ngx_http_lockbox_streams_t  *streams;

    streams = ngx_pcalloc(cycle->pool, sizeof(ngx_http_lockbox_streams_t));
    if (streams == NULL) {
        return NULL;
    }

    streams->conf = conf;
    streams->cycle = cycle;
    streams->ident = (ngx_socket_t) -1;

    ngx_queue_init(&streams->queue);

    streams->listener.ready = ngx_http_lockbox_streams_ready;
    streams->listener.lost = ngx_http_lockbox_streams_lost;
    streams->listener.message = ngx_http_lockbox_streams_message;
    streams->listener.data = streams;

    /* not cancelable: a worker that drains ends its streams before it goes */

    streams->timer.handler = ngx_http_lockbox_streams_tick;
    streams->timer.data = streams;
    streams->timer.log = cycle->log;

    streams->woken.handler = ngx_http_lockbox_streams_woken;
    streams->woken.data = streams;
    streams->woken.log = cycle->log;

    return streams;
}


void
ngx_http_lockbox_streams_destroy(ngx_http_lockbox_streams_t *streams)
{
    if (streams->redis != NULL) {
        ngx_lockbox_redis_destroy(streams->redis);
        streams->redis = NULL;
    }
}


void
ngx_http_lockbox_admin_stream(ngx_http_lockbox_admin_call_t *call,
    const ngx_str_t *cursor)
{
    const char                     *full;
    ngx_lockbox_fault_t             fault;
    ngx_http_lockbox_stream_t      *stream;
    ngx_http_lockbox_admin_conf_t  *conf;

    conf = ngx_http_lockbox_admin_conf(call->request);

    stream = ngx_pcalloc(call->request->pool,
                         sizeof(ngx_http_lockbox_stream_t));
    if (stream == NULL || conf->streams == NULL) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    stream->call = call;
    call->data = stream;

    if (ngx_http_lockbox_stream_place(call, stream, cursor, &fault)
        != NGX_OK)
    {
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    full = ngx_http_lockbox_stream_room(conf->streams, &call->identity);

    if (full != NULL) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_TOO_MANY_REQUESTS,
                                      full, NULL);
        return;
    }

    if (ngx_http_lockbox_stream_enter(stream, conf->streams) != NGX_OK) {
        ngx_http_lockbox_admin_refuse(call, NGX_LOCKBOX_INTERNAL_ERROR, NULL,
                                      NULL);
        return;
    }

    stream->asked = ngx_current_msec;

    ngx_http_lockbox_admin_step(call, "events",
                       ngx_http_lockbox_admin_events_args(&call->identity,
                                             &stream->cursor,
                                             NGX_HTTP_LOCKBOX_STREAM_PAGE, 1),
                       ngx_http_lockbox_stream_begin);
}


/* A client that comes back says where it was, whatever its address says. */

static ngx_int_t
ngx_http_lockbox_stream_place(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_stream_t *stream, const ngx_str_t *cursor,
    ngx_lockbox_fault_t *fault)
{
    ngx_str_t               value;
    ngx_uint_t              n;
    static const ngx_str_t  name = ngx_string("Last-Event-ID");

    value = *cursor;
    n = ngx_http_lockbox_header_find(call->request, &name, &value);

    if (n == 1 && value.len == 0) {
        value = *cursor;
        n = 0;
    }

    if (n > 1
        || value.len > NGX_HTTP_LOCKBOX_CURSOR_MAX
        || !ngx_http_lockbox_stream_printable(&value))
    {
        fault->member = name;
        fault->reason = "It does not come from here.";
        return NGX_DECLINED;
    }

    stream->named = (n == 1);
    stream->cursor.data = stream->place;
    stream->cursor.len = value.len;

    /* without a cursor there is not even an address to copy from */

    if (value.len != 0) {
        ngx_memcpy(stream->place, value.data, value.len);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_lockbox_stream_printable(const ngx_str_t *text)
{
    size_t  i;

    for (i = 0; i < text->len; i++) {
        if (text->data[i] <= 0x20 || text->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


/* Why there is no room for another stream, or NULL. */

static const char *
ngx_http_lockbox_stream_room(const ngx_http_lockbox_streams_t *streams,
    const ngx_lockbox_identity_t *identity)
{
    ngx_uint_t                        n;
    ngx_queue_t                      *q;
    const ngx_lockbox_identity_t     *other;
    const ngx_http_lockbox_stream_t  *stream;

    if (streams->n >= streams->conf->streams_max) {
        return "As many event streams are open here as may be. Ask again "
               "later, or without text/event-stream.";
    }

    n = 0;

    for (q = ngx_queue_head(&streams->queue);
         q != ngx_queue_sentinel(&streams->queue);
         q = ngx_queue_next(q))
    {
        stream = ngx_queue_data(q, ngx_http_lockbox_stream_t, queue);
        other = &stream->call->identity;

        n += ngx_lockbox_text_same(&other->iss, &identity->iss)
             && ngx_lockbox_text_same(&other->sub, &identity->sub);
    }

    return n < streams->conf->streams_person
           ? NULL
           : "You have as many event streams open here as anybody may.";
}


/*
 * What is sent lies in the page until nobody sends any more, which with HTTP/2
 * may be later than the end of the request.
 */

static ngx_int_t
ngx_http_lockbox_stream_enter(ngx_http_lockbox_stream_t *stream,
    ngx_http_lockbox_streams_t *streams)
{
    ngx_pool_cleanup_t  *memory;
    ngx_http_cleanup_t  *cln;

    memory = ngx_pool_cleanup_add(stream->call->request->pool, 0);
    cln = ngx_http_cleanup_add(stream->call->request, 0);

    if (memory == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    memory->handler = ngx_http_lockbox_stream_cleanup;
    memory->data = stream;

    cln->handler = ngx_http_lockbox_stream_leave;
    cln->data = stream;

    stream->streams = streams;

    ngx_queue_insert_tail(&streams->queue, &stream->queue);
    streams->n++;

    ngx_http_lockbox_streams_listen(streams);

    return NGX_OK;
}


static void
ngx_http_lockbox_stream_leave(void *data)
{
    ngx_http_lockbox_stream_t *stream = data;

    if (stream->streams == NULL) {
        return;
    }

    ngx_queue_remove(&stream->queue);
    stream->streams->n--;
    stream->streams = NULL;

    /* an answer must not find a request that is over */

    if (stream->page != NULL && !ngx_http_lockbox_stream_unsent(stream)) {
        ngx_http_lockbox_stream_drop_page(stream);
    }
}


static void
ngx_http_lockbox_stream_cleanup(void *data)
{
    ngx_http_lockbox_stream_drop_page(data);
}


static void
ngx_http_lockbox_stream_begin(ngx_http_lockbox_admin_call_t *call,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_int_t                   rc;
    ngx_lockbox_fault_t         fault;
    ngx_http_request_t         *r;
    ngx_http_lockbox_stream_t  *stream;

    r = call->request;
    stream = call->data;

    if (result->decision == NGX_LOCKBOX_INVALID_MEMBER) {
        ngx_str_set(&fault.member, "cursor");

        if (stream->named) {
            ngx_str_set(&fault.member, "Last-Event-ID");
        }

        fault.reason = "It does not come from here.";
        ngx_http_lockbox_admin_refuse_member(call, &fault);
        return;
    }

    if (result->decision != NGX_LOCKBOX_ALLOW) {
        ngx_http_lockbox_admin_refuse_result(call, result);
        return;
    }

    call->leg->decision = NGX_LOCKBOX_ALLOW;
    call->leg->silent = 1;

    rc = ngx_http_lockbox_stream_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    if (ngx_http_lockbox_stream_reading(r) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    stream->page = ngx_create_pool(NGX_HTTP_LOCKBOX_STREAM_POOL,
                                   stream->streams->cycle->log);
    if (stream->page == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_http_lockbox_stream_take(stream, result);
}


static ngx_int_t
ngx_http_lockbox_stream_header(ngx_http_request_t *r)
{
    static const ngx_str_t  no_store = ngx_string("no-store");
    static const ngx_str_t  no = ngx_string("no");

    if (ngx_http_lockbox_header_add(r, "Cache-Control", &no_store) != NGX_OK
        || ngx_http_lockbox_header_add(r, "X-Accel-Buffering", &no) != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    return ngx_http_send_header(r);
}


/* From now on nothing comes from the client but its end. */

static ngx_int_t
ngx_http_lockbox_stream_reading(ngx_http_request_t *r)
{
    ngx_event_t  *rev;

    r->read_event_handler = ngx_http_test_reading;

    rev = r->connection->read;

    if (rev->ready) {
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(rev, 0);
}


static void
ngx_http_lockbox_stream_ask(ngx_http_lockbox_stream_t *stream)
{
    json_t                      *args;
    ngx_http_lockbox_streams_t  *streams;

    streams = stream->streams;

    if (stream->page != NULL
        || ngx_http_lockbox_stream_unsent(stream)
        || (!stream->more
            && ngx_current_msec - stream->asked
               < NGX_HTTP_LOCKBOX_STREAM_PACE))
    {
        stream->due = 1;
        return;
    }

    stream->due = 0;
    stream->more = 0;
    stream->asked = ngx_current_msec;

    stream->page = ngx_create_pool(NGX_HTTP_LOCKBOX_STREAM_POOL,
                                   streams->cycle->log);
    if (stream->page == NULL) {
        return;
    }

    args = ngx_http_lockbox_admin_events_args(&stream->call->identity,
                                              &stream->cursor,
                                              NGX_HTTP_LOCKBOX_STREAM_PAGE, 0);

    if (args == NULL
        || ngx_lockbox_workflow_run(streams->conf->redis, stream->page,
                                    "events", args,
                                    ngx_http_lockbox_stream_answered, stream)
           == NULL)
    {
        ngx_http_lockbox_stream_drop_page(stream);
        stream->due = 1;
    }

    json_decref(args);
}


static void
ngx_http_lockbox_stream_answered(void *data,
    const ngx_lockbox_workflow_result_t *result)
{
    ngx_connection_t           *c;
    ngx_http_lockbox_stream_t  *stream = data;

    c = stream->call->request->connection;

    ngx_http_set_log_request(c->log, stream->call->request);

    switch (result->decision) {

    case NGX_LOCKBOX_ALLOW:
        ngx_http_lockbox_stream_take(stream, result);
        break;

    case NGX_LOCKBOX_STORE_UNAVAILABLE:
        ngx_http_lockbox_stream_drop_page(stream);
        stream->due = 1;
        break;

    default:
        /* what the client gets when it comes back says why */
        ngx_http_lockbox_stream_end(stream);
    }

    ngx_http_run_posted_requests(c);
}


/*
 * The first block of a stream has no data, so nobody hears of it; but whoever
 * comes back before the first event says from where.  So does a gap, if no
 * event follows it: it is told of once.
 */

static void
ngx_http_lockbox_stream_take(ngx_http_lockbox_stream_t *stream,
    const ngx_lockbox_workflow_result_t *result)
{
    if (result->next.len > NGX_HTTP_LOCKBOX_CURSOR_MAX) {
        ngx_http_lockbox_stream_end(stream);
        return;
    }

    ngx_memcpy(stream->place, result->next.data, result->next.len);
    stream->cursor.len = result->next.len;

    stream->more = json_array_size(result->events)
                   == NGX_HTTP_LOCKBOX_STREAM_PAGE;

    if (stream->open
        && !result->gap
        && json_array_size(result->events) == 0)
    {
        ngx_http_lockbox_stream_drop_page(stream);
        return;
    }

    if (ngx_http_lockbox_stream_events(stream, result->events, result->gap)
        != NGX_OK)
    {
        ngx_http_lockbox_stream_end(stream);
    }
}


static ngx_int_t
ngx_http_lockbox_stream_events(ngx_http_lockbox_stream_t *stream,
    const json_t *events, ngx_uint_t gap)
{
    size_t       i, n, len;
    u_char      *p;
    ngx_str_t   *texts, text;
    ngx_uint_t   head;

    n = json_array_size(events);
    len = sizeof("retry: \n" NGX_HTTP_LOCKBOX_STREAM_GAP "id: \n\n") - 1
          + NGX_INT_T_LEN + stream->cursor.len;

    texts = ngx_palloc(stream->page, (n + 1) * sizeof(ngx_str_t));
    if (texts == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (ngx_http_lockbox_stream_event(stream, json_array_get(events, i),
                                          &texts[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        len += texts[i].len;
    }

    p = ngx_pnalloc(stream->page, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;

    head = !stream->open || gap;

    if (!stream->open) {
        stream->open = 1;

        p = ngx_sprintf(p, "retry: %i\n",
                        (ngx_int_t) NGX_HTTP_LOCKBOX_STREAM_RETRY
                        + ngx_random() % NGX_HTTP_LOCKBOX_STREAM_JITTER);
    }

    if (gap) {
        p = ngx_cpymem(p, NGX_HTTP_LOCKBOX_STREAM_GAP,
                       sizeof(NGX_HTTP_LOCKBOX_STREAM_GAP) - 1);
    }

    if (n == 0) {
        p = ngx_sprintf(p, "id: %V\n", &stream->cursor);
    }

    if (head) {
        *p++ = LF;
    }

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, texts[i].data, texts[i].len);
    }

    text.len = (size_t) (p - text.data);

    ngx_http_lockbox_stream_send(stream, &text);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_stream_event(ngx_http_lockbox_stream_t *stream,
    const json_t *fields, ngx_str_t *text)
{
    json_t                        *event;
    ngx_int_t                      rc;
    ngx_str_t                      id, type, data;
    ngx_http_lockbox_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(stream->call->request,
                                        ngx_http_lockbox_module);

    event = ngx_http_lockbox_admin_event(&mcf->grant_issuer, fields);

    rc = event != NULL
         && ngx_lockbox_json_string(event, "id", &id) == NGX_OK
         && ngx_lockbox_json_string(event, "type", &type) == NGX_OK
         ? NGX_OK : NGX_ERROR;

    /* both are borrowed from the event */

    json_incref(event);

    if (ngx_http_lockbox_admin_event_text(stream->page, event, &data)
        != NGX_OK)
    {
        rc = NGX_ERROR;
    }

    if (rc == NGX_OK) {
        text->len = sizeof("id: \nevent: \ndata: \n\n") - 1
                    + id.len + type.len + data.len;

        text->data = ngx_pnalloc(stream->page, text->len);

        if (text->data != NULL) {
            (void) ngx_sprintf(text->data,
                               "id: %V\nevent: %V\ndata: %V\n\n",
                               &id, &type, &data);

        } else {
            rc = NGX_ERROR;
        }
    }

    json_decref(event);

    return rc;
}


static void
ngx_http_lockbox_stream_drop_page(ngx_http_lockbox_stream_t *stream)
{
    ngx_pool_t  *page;

    page = stream->page;
    stream->page = NULL;

    if (page != NULL) {
        ngx_destroy_pool(page);
    }
}


static void
ngx_http_lockbox_stream_send(ngx_http_lockbox_stream_t *stream,
    const ngx_str_t *text)
{
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_chain_t         *out;
    ngx_http_request_t  *r;

    r = stream->call->request;

    out = ngx_chain_get_free_buf(r->pool, &stream->free);
    if (out == NULL) {
        ngx_http_lockbox_stream_leave(stream);
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    b = out->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));

    b->tag = (ngx_buf_tag_t) &ngx_http_lockbox_admin_module;
    b->start = text->data;
    b->pos = text->data;
    b->last = text->data + text->len;
    b->end = b->last;
    b->memory = 1;
    b->flush = 1;

    stream->sent = ngx_current_msec;

    rc = ngx_http_output_filter(r, out);

    ngx_chain_update_chains(r->pool, &stream->free, &stream->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_lockbox_admin_module);

    ngx_http_lockbox_stream_written(stream, rc);
}


static void
ngx_http_lockbox_stream_writer(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_event_t                    *wev;
    ngx_chain_t                    *none;
    ngx_connection_t               *c;
    ngx_http_lockbox_stream_t      *stream;
    ngx_http_lockbox_admin_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_lockbox_admin_module);
    stream = call->data;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;

        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed || r->aio) {
        ngx_http_lockbox_stream_wait(stream);
        return;
    }

    none = NULL;

    rc = ngx_http_output_filter(r, NULL);

    ngx_chain_update_chains(r->pool, &stream->free, &stream->busy, &none,
                            (ngx_buf_tag_t) &ngx_http_lockbox_admin_module);

    ngx_http_lockbox_stream_written(stream, rc);
}


static void
ngx_http_lockbox_stream_written(ngx_http_lockbox_stream_t *stream,
    ngx_int_t rc)
{
    ngx_event_t         *wev;
    ngx_http_request_t  *r;

    r = stream->call->request;

    if (rc == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (ngx_http_lockbox_stream_unsent(stream)) {
        r->write_event_handler = ngx_http_lockbox_stream_writer;
        ngx_http_lockbox_stream_wait(stream);
        return;
    }

    wev = r->connection->write;

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_lockbox_stream_drop_page(stream);

    if (stream->more) {
        ngx_http_lockbox_stream_ask(stream);
    }
}


static void
ngx_http_lockbox_stream_wait(ngx_http_lockbox_stream_t *stream)
{
    ngx_event_t               *wev;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = stream->call->request;
    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


static ngx_uint_t
ngx_http_lockbox_stream_unsent(const ngx_http_lockbox_stream_t *stream)
{
    const ngx_http_request_t  *r;

    r = stream->call->request;

    return stream->busy != NULL || r->buffered || r->connection->buffered;
}


/* As whole as a response can be: the client comes back for the rest. */

static void
ngx_http_lockbox_stream_end(ngx_http_lockbox_stream_t *stream)
{
    ngx_http_request_t  *r;

    r = stream->call->request;

    ngx_http_lockbox_stream_leave(stream);

    ngx_http_finalize_request(r, ngx_http_send_special(r, NGX_HTTP_LAST));
}


static void
ngx_http_lockbox_streams_tick(ngx_event_t *ev)
{
    ngx_queue_t                 *q, due;
    ngx_connection_t            *c;
    ngx_http_lockbox_stream_t   *stream;
    ngx_http_lockbox_streams_t  *streams = ev->data;

    /* where one ends others may, too: none is looked for but at the head */

    ngx_queue_init(&due);

    if (!ngx_queue_empty(&streams->queue)) {
        ngx_queue_add(&due, &streams->queue);
        ngx_queue_init(&streams->queue);
    }

    while (!ngx_queue_empty(&due)) {
        q = ngx_queue_head(&due);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&streams->queue, q);

        stream = ngx_queue_data(q, ngx_http_lockbox_stream_t, queue);
        c = stream->call->request->connection;

        if (stream->open) {
            ngx_http_set_log_request(c->log, stream->call->request);
            ngx_http_lockbox_stream_check(stream);
            ngx_http_run_posted_requests(c);
        }
    }

    if (streams->n != 0) {
        ngx_add_timer(ev, NGX_HTTP_LOCKBOX_STREAM_TICK);
    }
}


static void
ngx_http_lockbox_stream_check(ngx_http_lockbox_stream_t *stream)
{
    ngx_msec_t                   silent, patience;
    ngx_http_lockbox_streams_t  *streams;

    streams = stream->streams;

    if (ngx_exiting || ngx_time() >= stream->call->identity.expires) {
        ngx_http_lockbox_stream_end(stream);
        return;
    }

    if (stream->page != NULL || ngx_http_lockbox_stream_unsent(stream)) {
        return;
    }

    patience = streams->subscribed ? NGX_HTTP_LOCKBOX_STREAM_SILENT
                                   : NGX_HTTP_LOCKBOX_STREAM_DEAF;
    silent = ngx_current_msec - stream->asked;

    if (stream->due || silent >= patience) {
        ngx_http_lockbox_stream_ask(stream);

    } else if (ngx_current_msec - stream->sent
               >= NGX_HTTP_LOCKBOX_STREAM_KEEPALIVE)
    {
        ngx_http_lockbox_stream_send(stream, &ngx_http_lockbox_stream_comment);
    }
}


/* Who has no streams needs no connection for them. */

static void
ngx_http_lockbox_streams_listen(ngx_http_lockbox_streams_t *streams)
{
    ngx_http_lockbox_main_conf_t  *mcf;

    if (!streams->timer.timer_set) {
        ngx_add_timer(&streams->timer, NGX_HTTP_LOCKBOX_STREAM_TICK);
    }

    if (streams->redis != NULL) {
        return;
    }

    mcf = ngx_http_cycle_get_module_main_conf(streams->cycle,
                                              ngx_http_lockbox_module);

    streams->redis = ngx_lockbox_redis_create(&mcf->redis, "events",
                                              NGX_HTTP_LOCKBOX_WAKE_MAX,
                                              &streams->listener,
                                              streams->cycle->log);
}


static void
ngx_http_lockbox_streams_ready(void *data)
{
    ngx_str_t                     argv[2];
    ngx_lockbox_redis_command_t  *command;
    ngx_http_lockbox_streams_t   *streams = data;

    ngx_str_set(&argv[0], "SUBSCRIBE");
    ngx_str_set(&argv[1], NGX_HTTP_LOCKBOX_WAKE);

    command = ngx_lockbox_redis_send(streams->redis, argv, 2,
                                     ngx_http_lockbox_streams_subscribed,
                                     streams);
    if (command != NULL) {
        ngx_lockbox_redis_spare(command);
    }
}


static void
ngx_http_lockbox_streams_subscribed(void *data,
    const ngx_lockbox_reply_t *reply)
{
    ngx_lockbox_reply_t          word;
    ngx_http_lockbox_streams_t  *streams = data;

    if (reply == NULL) {
        return;
    }

    if (ngx_lockbox_resp_at(reply, 0, &word) != NGX_OK
        || word.type != NGX_LOCKBOX_RESP_STRING
        || !ngx_lockbox_text_is(&word.text, "subscribe"))
    {
        ngx_lockbox_redis_reject(streams->redis, "SUBSCRIBE refused");
        return;
    }

    streams->subscribed = 1;

    /* what has happened until now was said to nobody */

    ngx_post_event(&streams->woken, &ngx_posted_events);
}


static void
ngx_http_lockbox_streams_lost(void *data)
{
    ngx_http_lockbox_streams_t  *streams = data;

    streams->subscribed = 0;
}


/* Many messages that are read together wake once. */

static void
ngx_http_lockbox_streams_message(void *data, const ngx_lockbox_reply_t *reply)
{
    ngx_http_lockbox_streams_t  *streams = data;

    ngx_post_event(&streams->woken, &ngx_posted_events);
}


static void
ngx_http_lockbox_streams_woken(ngx_event_t *ev)
{
    ngx_queue_t                 *q;
    ngx_http_lockbox_stream_t   *stream;
    ngx_http_lockbox_streams_t  *streams = ev->data;

    for (q = ngx_queue_head(&streams->queue);
         q != ngx_queue_sentinel(&streams->queue);
         q = ngx_queue_next(q))
    {
        stream = ngx_queue_data(q, ngx_http_lockbox_stream_t, queue);

        if (stream->open) {
            ngx_http_lockbox_stream_ask(stream);

        } else {
            stream->due = 1;
        }
    }
}
