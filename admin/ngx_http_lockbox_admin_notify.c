/*
 * Hands events to a location of the operator's.
 *
 * A client's request cannot do that: its connection would wait for it, and
 * the sweep has none.  So each event gets a request of its own.  Its
 * connection is one end of a pair of sockets, so that nginx finds everything
 * that belongs to a connection; nobody writes to the other end or reads from
 * it, and the answer is not sent: only its status is of interest.
 */

#include "ngx_http_lockbox_admin_notify.h"
#include "ngx_http_lockbox_admin_events.h"

#include <sys/socket.h>


/* At once, and waiting; of each worker. */
#define NGX_HTTP_LOCKBOX_NOTIFY_AT_ONCE  8
#define NGX_HTTP_LOCKBOX_NOTIFY_QUEUED   1000

#define NGX_HTTP_LOCKBOX_NOTIFY_POOL     1024

/* Content-Type, Content-Length and Host. */
#define NGX_HTTP_LOCKBOX_NOTIFY_HEADERS  4


typedef struct ngx_http_lockbox_message_s  ngx_http_lockbox_message_t;

struct ngx_http_lockbox_message_s {
    ngx_http_lockbox_message_t           *next;
    size_t                                len;
    u_char                                text[1];
};


struct ngx_http_lockbox_notifier_s {
    /* "fd" behind three pointers, for the debug log of events */
    const ngx_http_lockbox_admin_conf_t  *conf;
    ngx_cycle_t                          *cycle;
    const ngx_str_t                      *source;
    ngx_socket_t                          ident;

    ngx_event_t                           next;
    ngx_http_lockbox_message_t           *first;
    ngx_http_lockbox_message_t          **last;
    ngx_uint_t                            queued;
    ngx_uint_t                            running;

    ngx_uint_t                            lost;
    ngx_uint_t                            failed;
    time_t                                complained;
};


typedef struct {
    /* "fd" behind three pointers, for the debug log of events */
    ngx_http_lockbox_notifier_t          *notifier;
    ngx_connection_t                     *connection;
    ngx_http_request_t                   *request;
    ngx_socket_t                          ident;

    ngx_http_log_ctx_t                    log;
    ngx_http_connection_t                 http;
    ngx_socket_t                          peer;     /* the other end */
    ngx_event_t                           deadline;
    struct sockaddr                       address;
} ngx_http_lockbox_handover_t;


static void ngx_http_lockbox_notify_event(
    ngx_http_lockbox_notifier_t *notifier, const json_t *fields);
static void ngx_http_lockbox_notify_push(
    ngx_http_lockbox_notifier_t *notifier, const ngx_str_t *text);
static ngx_http_lockbox_message_t *ngx_http_lockbox_notify_pop(
    ngx_http_lockbox_notifier_t *notifier);
static void ngx_http_lockbox_notify_complain(
    ngx_http_lockbox_notifier_t *notifier);
static void ngx_http_lockbox_notify_next(ngx_event_t *ev);
static ngx_int_t ngx_http_lockbox_notify_hand_over(
    ngx_http_lockbox_notifier_t *notifier,
    const ngx_http_lockbox_message_t *message);
static ngx_http_lockbox_handover_t *ngx_http_lockbox_notify_connect(
    ngx_http_lockbox_notifier_t *notifier);
static ngx_http_lockbox_handover_t *ngx_http_lockbox_notify_connection(
    ngx_http_lockbox_notifier_t *notifier, ngx_connection_t *c);
static u_char *ngx_http_lockbox_notify_log(ngx_log_t *log, u_char *buf,
    size_t len);
static ngx_int_t ngx_http_lockbox_notify_request(
    ngx_http_lockbox_handover_t *handover,
    const ngx_http_lockbox_message_t *message);
static ngx_int_t ngx_http_lockbox_notify_line(ngx_http_request_t *r,
    const ngx_str_t *uri);
static ngx_int_t ngx_http_lockbox_notify_body(ngx_http_request_t *r,
    const ngx_http_lockbox_message_t *message);
static ngx_table_elt_t *ngx_http_lockbox_notify_header(ngx_http_request_t *r,
    const char *name, const char *lowcase, const ngx_str_t *value);
static void ngx_http_lockbox_notify_late(ngx_event_t *ev);
static void ngx_http_lockbox_notify_done(void *data);
static void ngx_http_lockbox_notify_close(void *data);


ngx_http_lockbox_notifier_t *
ngx_http_lockbox_notifier_create(ngx_cycle_t *cycle,
    const ngx_http_lockbox_admin_conf_t *conf)
{
    ngx_http_lockbox_notifier_t   *notifier;
    ngx_http_lockbox_main_conf_t  *mcf;

    notifier = ngx_pcalloc(cycle->pool, sizeof(ngx_http_lockbox_notifier_t));
    if (notifier == NULL) {
        return NULL;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_lockbox_module);

    notifier->conf = conf;
    notifier->cycle = cycle;
    notifier->source = &mcf->grant_issuer;
    notifier->ident = (ngx_socket_t) -1;

    notifier->last = &notifier->first;

    notifier->next.handler = ngx_http_lockbox_notify_next;
    notifier->next.data = notifier;
    notifier->next.log = cycle->log;

    return notifier;
}


void
ngx_http_lockbox_notifier_destroy(ngx_http_lockbox_notifier_t *notifier)
{
    ngx_http_lockbox_message_t  *message;

    for ( ;; ) {
        message = ngx_http_lockbox_notify_pop(notifier);

        if (message == NULL) {
            break;
        }

        notifier->lost++;
        ngx_free(message);
    }

    notifier->complained = 0;
    ngx_http_lockbox_notify_complain(notifier);
}


void
ngx_http_lockbox_notify(ngx_http_lockbox_notifier_t *notifier,
    const ngx_lockbox_workflow_result_t *result)
{
    size_t  i;

    if (notifier == NULL) {
        return;
    }

    for (i = 0; i < json_array_size(result->events); i++) {
        ngx_http_lockbox_notify_event(notifier,
                                      json_array_get(result->events, i));
    }
}


static void
ngx_http_lockbox_notify_event(ngx_http_lockbox_notifier_t *notifier,
    const json_t *fields)
{
    json_t      *event;
    ngx_str_t    text;
    ngx_pool_t  *pool;

    pool = ngx_create_pool(NGX_HTTP_LOCKBOX_NOTIFY_POOL, notifier->cycle->log);
    if (pool == NULL) {
        return;
    }

    event = ngx_http_lockbox_admin_event(notifier->source, fields);

    if (ngx_http_lockbox_admin_event_text(pool, event, &text) == NGX_OK) {
        ngx_http_lockbox_notify_push(notifier, &text);
    }

    ngx_destroy_pool(pool);
}


static void
ngx_http_lockbox_notify_push(ngx_http_lockbox_notifier_t *notifier,
    const ngx_str_t *text)
{
    ngx_http_lockbox_message_t  *message;

    message = ngx_alloc(sizeof(ngx_http_lockbox_message_t) + text->len,
                        notifier->cycle->log);
    if (message == NULL) {
        return;
    }

    message->next = NULL;
    message->len = text->len;
    ngx_memcpy(message->text, text->data, text->len);

    *notifier->last = message;
    notifier->last = &message->next;
    notifier->queued++;

    if (notifier->queued > NGX_HTTP_LOCKBOX_NOTIFY_QUEUED) {
        message = ngx_http_lockbox_notify_pop(notifier);
        ngx_free(message);

        notifier->lost++;
        ngx_http_lockbox_notify_complain(notifier);
    }

    ngx_post_event(&notifier->next, &ngx_posted_events);
}


static ngx_http_lockbox_message_t *
ngx_http_lockbox_notify_pop(ngx_http_lockbox_notifier_t *notifier)
{
    ngx_http_lockbox_message_t  *message;

    message = notifier->first;

    if (message != NULL) {
        notifier->first = message->next;
        notifier->queued--;

        if (notifier->first == NULL) {
            notifier->last = &notifier->first;
        }
    }

    return message;
}


/* At most once a second, about all since the last time. */

static void
ngx_http_lockbox_notify_complain(ngx_http_lockbox_notifier_t *notifier)
{
    if (notifier->lost + notifier->failed == 0
        || notifier->complained == ngx_time())
    {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, notifier->cycle->log, 0,
                  "lockbox: \"%V\" did not take %ui events, and %ui were "
                  "dropped before it was asked",
                  &notifier->conf->notify, notifier->failed, notifier->lost);

    notifier->complained = ngx_time();
    notifier->lost = 0;
    notifier->failed = 0;
}


/* A worker that drains stays for what is under way, and for nothing else. */

static void
ngx_http_lockbox_notify_next(ngx_event_t *ev)
{
    ngx_http_lockbox_message_t   *message;
    ngx_http_lockbox_notifier_t  *notifier = ev->data;

    while (notifier->running < NGX_HTTP_LOCKBOX_NOTIFY_AT_ONCE) {
        message = ngx_http_lockbox_notify_pop(notifier);

        if (message == NULL) {
            return;
        }

        if (ngx_http_lockbox_notify_hand_over(notifier, message) != NGX_OK) {
            notifier->lost++;
            ngx_http_lockbox_notify_complain(notifier);
        }

        ngx_free(message);
    }
}


/* The message is copied. */

static ngx_int_t
ngx_http_lockbox_notify_hand_over(ngx_http_lockbox_notifier_t *notifier,
    const ngx_http_lockbox_message_t *message)
{
    ngx_connection_t             *c;
    ngx_http_request_t           *r;
    ngx_http_cleanup_t           *cln;
    ngx_http_lockbox_handover_t  *handover;

    handover = ngx_http_lockbox_notify_connect(notifier);
    if (handover == NULL) {
        return NGX_ERROR;
    }

    c = handover->connection;

    r = ngx_http_create_request(c);
    if (r == NULL) {
        ngx_http_close_connection(c);
        return NGX_ERROR;
    }

    c->data = r;
    handover->request = r;

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL
        || ngx_http_lockbox_notify_request(handover, message) != NGX_OK)
    {
        /* nothing of it has run, so there is nothing to log */
        r->logged = 1;
        ngx_http_free_request(r, 0);
        ngx_http_close_connection(c);
        return NGX_ERROR;
    }

    cln->handler = ngx_http_lockbox_notify_done;
    cln->data = handover;

    notifier->running++;
    ngx_add_timer(&handover->deadline, notifier->conf->notify_timeout);

    ngx_http_process_request(r);

    ngx_http_run_posted_requests(c);

    return NGX_OK;
}


static ngx_http_lockbox_handover_t *
ngx_http_lockbox_notify_connect(ngx_http_lockbox_notifier_t *notifier)
{
    ngx_socket_t                  ends[2];
    ngx_connection_t             *c;
    ngx_http_lockbox_handover_t  *handover;

    /* others come first: nginx would close idle connections to find a place */

    if (ngx_cycle->free_connection_n <= ngx_cycle->connection_n / 16) {
        return NULL;
    }

    if (socketpair(AF_UNIX, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0, ends)
        == -1)
    {
        ngx_log_error(NGX_LOG_ERR, notifier->cycle->log, ngx_socket_errno,
                      "socketpair() failed");
        return NULL;
    }

    handover = NULL;

    c = ngx_get_connection(ends[0], notifier->cycle->log);

    if (c == NULL) {
        (void) ngx_close_socket(ends[0]);
        (void) ngx_close_socket(ends[1]);
        return NULL;
    }

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_active, 1);
#endif

    c->pool = ngx_create_pool(NGX_HTTP_LOCKBOX_NOTIFY_POOL,
                              notifier->cycle->log);

    if (c->pool != NULL) {
        handover = ngx_http_lockbox_notify_connection(notifier, c);
    }

    if (handover == NULL) {
        (void) ngx_close_socket(ends[1]);

#if (NGX_STAT_STUB)
        (void) ngx_atomic_fetch_add(ngx_stat_active, -1);
#endif

        if (c->pool != NULL) {
            ngx_destroy_pool(c->pool);
        }

        ngx_close_connection(c);
        return NULL;
    }

    handover->peer = ends[1];

    return handover;
}


/* What nginx gives a connection that it has accepted on a Unix socket. */

static ngx_http_lockbox_handover_t *
ngx_http_lockbox_notify_connection(ngx_http_lockbox_notifier_t *notifier,
    ngx_connection_t *c)
{
    ngx_log_t                    *log;
    ngx_pool_cleanup_t           *cln;
    ngx_http_lockbox_handover_t  *handover;

    handover = ngx_pcalloc(c->pool, sizeof(ngx_http_lockbox_handover_t));
    log = ngx_palloc(c->pool, sizeof(ngx_log_t));
    c->buffer = ngx_create_temp_buf(c->pool, 1);
    cln = ngx_pool_cleanup_add(c->pool, 0);

    if (handover == NULL || log == NULL || c->buffer == NULL || cln == NULL) {
        return NULL;
    }

    handover->notifier = notifier;
    handover->connection = c;
    handover->ident = (ngx_socket_t) -1;
    handover->log.connection = c;
    handover->http.conf_ctx = notifier->conf->server;
    handover->address.sa_family = AF_UNIX;

    handover->deadline.handler = ngx_http_lockbox_notify_late;
    handover->deadline.data = handover;
    handover->deadline.log = log;

    cln->handler = ngx_http_lockbox_notify_close;
    cln->data = handover;

    *log = *notifier->cycle->log;
    log->connection = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    log->handler = ngx_http_lockbox_notify_log;
    log->data = &handover->log;
    log->action = NULL;

    c->data = &handover->http;
    c->type = SOCK_STREAM;
    c->log = log;
    c->pool->log = log;
    c->log_error = NGX_ERROR_INFO;
    c->number = log->connection;
    c->start_time = ngx_current_msec;
    c->listening = notifier->cycle->listening.elts;

    c->recv = ngx_recv;
    c->send = ngx_send;
    c->recv_chain = ngx_recv_chain;
    c->send_chain = ngx_send_chain;

    c->sockaddr = &handover->address;
    c->socklen = sizeof(struct sockaddr);
    c->local_sockaddr = &handover->address;
    c->local_socklen = sizeof(struct sockaddr);
    ngx_str_set(&c->addr_text, "unix:");

    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    c->read->log = log;
    c->write->log = log;
    c->write->ready = 1;

    /* so nothing is waited for when the request is over */
    c->read->eof = 1;

    return handover;
}


static u_char *
ngx_http_lockbox_notify_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_request_t  *r;
    ngx_http_log_ctx_t  *ctx;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    ctx = log->data;
    r = ctx->request;

    p = ngx_snprintf(buf, len, ", an event of lockbox is handed over");
    len -= p - buf;

    return r != NULL ? r->log_handler(r, ctx->current_request, p, len) : p;
}


/*
 * As an internal redirect leads there.  Nobody reads the response, so nothing
 * of it is sent: it has no header, like those of HTTP/0.9, and no body, like
 * those to HEAD.
 */

static ngx_int_t
ngx_http_lockbox_notify_request(ngx_http_lockbox_handover_t *handover,
    const ngx_http_lockbox_message_t *message)
{
    ngx_http_request_t  *r;

    r = handover->request;

    if (ngx_list_init(&r->headers_in.headers, r->pool,
                      NGX_HTTP_LOCKBOX_NOTIFY_HEADERS,
                      sizeof(ngx_table_elt_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    r->internal = 1;
    r->header_only = 1;
    r->http_version = NGX_HTTP_VERSION_9;

    if (ngx_http_lockbox_notify_line(r, &handover->notifier->conf->notify)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lockbox_notify_body(r, message);
}


static ngx_int_t
ngx_http_lockbox_notify_line(ngx_http_request_t *r, const ngx_str_t *uri)
{
    ngx_http_core_srv_conf_t  *cscf;

    r->method = NGX_HTTP_POST;
    ngx_str_set(&r->method_name, "POST");
    ngx_str_set(&r->http_protocol, "HTTP/1.1");

    r->uri = *uri;
    r->unparsed_uri = *uri;
    ngx_http_set_exten(r);

    r->request_line.len = sizeof("POST  HTTP/1.1") - 1 + uri->len;
    r->request_line.data = ngx_pnalloc(r->pool, r->request_line.len + 1);

    if (r->request_line.data == NULL) {
        return NGX_ERROR;
    }

    *ngx_sprintf(r->request_line.data, "POST %V HTTP/1.1", uri) = '\0';

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    if (cscf->server_name.len == 0) {
        return NGX_OK;
    }

    r->headers_in.server = cscf->server_name;
    r->headers_in.host = ngx_http_lockbox_notify_header(r, "Host", "host",
                                                        &cscf->server_name);

    return r->headers_in.host != NULL ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_lockbox_notify_body(ngx_http_request_t *r,
    const ngx_http_lockbox_message_t *message)
{
    ngx_buf_t                *b;
    ngx_str_t                 length;
    ngx_http_request_body_t  *body;
    static const ngx_str_t    type =
                                 ngx_string("application/cloudevents+json");

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_create_temp_buf(r->pool, message->len);
    length.data = ngx_pnalloc(r->pool, NGX_SIZE_T_LEN);

    if (body == NULL || b == NULL || length.data == NULL) {
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, message->text, message->len);
    b->last_buf = 1;

    body->bufs = ngx_alloc_chain_link(r->pool);
    if (body->bufs == NULL) {
        return NGX_ERROR;
    }

    body->bufs->buf = b;
    body->bufs->next = NULL;
    body->buf = b;

    length.len = (size_t) (ngx_sprintf(length.data, "%uz", message->len)
                           - length.data);

    r->request_body = body;
    r->headers_in.content_length_n = (off_t) message->len;
    r->headers_in.content_type = ngx_http_lockbox_notify_header(r,
                                             "Content-Type", "content-type",
                                             &type);
    r->headers_in.content_length = ngx_http_lockbox_notify_header(r,
                                             "Content-Length",
                                             "content-length", &length);

    return r->headers_in.content_type != NULL
           && r->headers_in.content_length != NULL ? NGX_OK : NGX_ERROR;
}


static ngx_table_elt_t *
ngx_http_lockbox_notify_header(ngx_http_request_t *r, const char *name,
    const char *lowcase, const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NULL;
    }

    /* nginx 1.23 links headers of one name; older ones have no such member */
    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->lowcase_key = (u_char *) lowcase;
    h->hash = ngx_hash_key(h->lowcase_key, h->key.len);
    h->value = *value;

    return h;
}


/* As nginx ends what is left when its own patience with a shutdown is over. */

static void
ngx_http_lockbox_notify_late(ngx_event_t *ev)
{
    ngx_connection_t             *c;
    ngx_http_lockbox_handover_t  *handover = ev->data;

    c = handover->connection;

    ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                  "the location did not answer in time");

    c->close = 1;
    c->error = 1;

    c->read->handler(c->read);
}


static void
ngx_http_lockbox_notify_done(void *data)
{
    ngx_uint_t                    status;
    ngx_http_request_t           *r;
    ngx_http_lockbox_notifier_t  *notifier;
    ngx_http_lockbox_handover_t  *handover = data;

    r = handover->request;
    notifier = handover->notifier;

    if (handover->deadline.timer_set) {
        ngx_del_timer(&handover->deadline);
    }

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (r->connection->error
        || status < NGX_HTTP_OK || status >= NGX_HTTP_SPECIAL_RESPONSE)
    {
        notifier->failed++;
        ngx_http_lockbox_notify_complain(notifier);
    }

    notifier->running--;

    /* not from in here: each could end at once, and begin the next */

    if (!ngx_exiting) {
        ngx_post_event(&notifier->next, &ngx_posted_events);
    }
}


static void
ngx_http_lockbox_notify_close(void *data)
{
    ngx_http_lockbox_handover_t  *handover = data;

    if (ngx_close_socket(handover->peer) == -1) {
        ngx_log_error(NGX_LOG_ALERT, handover->notifier->cycle->log,
                      ngx_socket_errno, ngx_close_socket_n " failed");
    }
}
