/*
 * Error pages around a gate.  Errors that come before it take anybody to the
 * page.  Once the location has seen the request the gate knows where it comes
 * from, and stops it.  But some errors nginx finds earlier: in the header,
 * before there is a location, or while it takes one.  Nothing of the gate sees
 * those, so what their pages lead to is looked at here.
 */

#include "ngx_http_lockbox_pages.h"
#include "ngx_http_lockbox_warnings.h"
#include "ngx_lockbox_text.h"


typedef struct {
    const ngx_http_lockbox_main_conf_t   *mcf;
    const ngx_http_core_srv_conf_t       *server;

    /* of the page: all of it, or what is in front of its first variable */
    ngx_str_t                             head;
    ngx_uint_t                            variable;
} ngx_http_lockbox_page_t;


static ngx_int_t ngx_http_lockbox_pages_gated(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf);
static ngx_int_t ngx_http_lockbox_pages_server(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf);
static ngx_int_t ngx_http_lockbox_pages_past(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *gated, const ngx_http_err_page_t *page,
    const ngx_http_core_loc_conf_t *open);
static ngx_uint_t ngx_http_lockbox_pages_unseen(
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_int_t status);
static ngx_uint_t ngx_http_lockbox_pages_header(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_int_t status);
static ngx_uint_t ngx_http_lockbox_pages_regex(
    const ngx_http_lockbox_loc_conf_t *lcf);
static void ngx_http_lockbox_pages_init(ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf, const ngx_http_err_page_t *err);
static const ngx_http_core_loc_conf_t *ngx_http_lockbox_pages_open(
    ngx_conf_t *cf, const ngx_http_lockbox_page_t *page);
static ngx_uint_t ngx_http_lockbox_pages_unrecorded(
    const ngx_http_lockbox_page_t *page);
static ngx_uint_t ngx_http_lockbox_pages_serves(ngx_conf_t *cf,
    const ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_loc_conf_t *lcf);
static ngx_uint_t ngx_http_lockbox_pages_takes(
    const ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_loc_conf_t *lcf);
static const ngx_http_lockbox_loc_conf_t *ngx_http_lockbox_pages_longest(
    const ngx_http_lockbox_page_t *page);
static ngx_uint_t ngx_http_lockbox_pages_forgotten(
    const ngx_http_lockbox_loc_conf_t *lcf);
static ngx_uint_t ngx_http_lockbox_pages_begins(const ngx_str_t *text,
    const ngx_str_t *head);


/*
 * What nginx finds wrong with a connection or a header when it knows the path
 * already, but no location yet.
 */

static const ngx_int_t  ngx_http_lockbox_pages_early[] = {
    NGX_HTTP_BAD_REQUEST,
    NGX_HTTP_NOT_ALLOWED,
    NGX_HTTP_MISDIRECTED_REQUEST,
    NGX_HTTP_REQUEST_HEADER_TOO_LARGE,
    NGX_HTTPS_CERT_ERROR,
    NGX_HTTPS_NO_CERT,
    NGX_HTTP_TO_HTTPS,
    NGX_HTTP_NOT_IMPLEMENTED,
    0
};


/* With these a page is the client's own path: where that leads, it was. */

static const char *const  ngx_http_lockbox_pages_same[] = {
    "$uri", "${uri}", "$document_uri", "${document_uri}", NULL
};


ngx_int_t
ngx_http_lockbox_pages(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_uint_t                        i;
    ngx_http_lockbox_loc_conf_t     **gated;
    const ngx_http_core_srv_conf_t   *server;

    gated = mcf->gated.elts;
    server = NULL;

    for (i = 0; i < mcf->gated.nelts; i++) {
        if (ngx_http_lockbox_pages_gated(cf, mcf, gated[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        /* those of a server are beside each other */

        if (gated[i]->server == server) {
            continue;
        }

        server = gated[i]->server;

        if (ngx_http_lockbox_pages_server(cf, mcf, gated[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_pages_gated(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    ngx_uint_t                       i, stopped, unrecorded;
    ngx_http_err_page_t             *err;
    ngx_http_lockbox_page_t          page;
    const ngx_http_core_loc_conf_t  *clcf, *open;

    clcf = ngx_http_lockbox_warnings_core(lcf);

    if (clcf->error_pages == NULL) {
        return NGX_OK;
    }

    stopped = 0;
    unrecorded = 0;
    err = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {

        /* these two come of an upstream, and so behind the gate */

        if (err[i].status == NGX_HTTP_BAD_GATEWAY
            || err[i].status == NGX_HTTP_GATEWAY_TIME_OUT)
        {
            continue;
        }

        ngx_http_lockbox_pages_init(&page, mcf, lcf, &err[i]);
        open = ngx_http_lockbox_pages_open(cf, &page);

        if (!ngx_http_lockbox_pages_unseen(lcf, err[i].status)) {
            stopped |= open != NULL && open->handler != NULL;
            continue;
        }

        if (open != NULL) {
            return ngx_http_lockbox_pages_past(cf, lcf, &err[i], open);
        }

        /* most have a page for 500, and few a regular expression that fails */

        unrecorded |= err[i].status != NGX_HTTP_INTERNAL_SERVER_ERROR
                      && ngx_http_lockbox_pages_unrecorded(&page);
    }

    /* those of a gated location are not those of each one in it */

    if (lcf->parent->loc_conf != NULL
        && lcf->parent->enable
        && ngx_http_lockbox_warnings_core(lcf->parent)->error_pages
           == clcf->error_pages)
    {
        return NGX_OK;
    }

    if (stopped) {
        ngx_http_lockbox_warnings_say(cf, lcf, "error_page",
                        "it leads to a location that is not gated, and errors "
                        "before the gate end there in 503");
    }

    if (unrecorded) {
        ngx_http_lockbox_warnings_say(cf, lcf, "error_page",
                        "its page for what nginx refuses before anything else "
                        "is not gated, so that leaves no record");
    }

    return NGX_OK;
}


/* Before there is a location, the pages are those of the server. */

static ngx_int_t
ngx_http_lockbox_pages_server(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    ngx_uint_t                          i;
    ngx_http_err_page_t                *err;
    ngx_http_lockbox_page_t             page;
    const ngx_http_core_loc_conf_t     *clcf, *open;
    const ngx_http_lockbox_loc_conf_t  *server;

    for (server = lcf;
         server->parent->loc_conf != NULL;
         server = server->parent)
    {
        /* void */
    }

    clcf = ngx_http_lockbox_warnings_core(server);

    if (clcf->error_pages == NULL) {
        return NGX_OK;
    }

    err = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {

        if (!ngx_http_lockbox_pages_header(cf, server, err[i].status)) {
            continue;
        }

        ngx_http_lockbox_pages_init(&page, mcf, server, &err[i]);
        open = ngx_http_lockbox_pages_open(cf, &page);

        if (open != NULL) {
            return ngx_http_lockbox_pages_past(cf, lcf, &err[i], open);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lockbox_pages_past(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *gated, const ngx_http_err_page_t *page,
    const ngx_http_core_loc_conf_t *open)
{
    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"error_page %i %V\" around what is gated in %V:%ui leads "
                  "past the gate: gate the location \"%V\", or write "
                  "\"lockbox off\" there if that is meant",
                  page->status, &page->value.value, &gated->file, gated->line,
                  &open->name);

    return NGX_ERROR;
}


/*
 * Whether this comes while nginx takes the location, before anything can see
 * the request there.  An "if" has been seen by then, and so has a name.
 */

static ngx_uint_t
ngx_http_lockbox_pages_unseen(const ngx_http_lockbox_loc_conf_t *lcf,
    ngx_int_t status)
{
    const ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_lockbox_warnings_core(lcf);

    if (clcf->named || (clcf->noname && !clcf->lmt_excpt)) {
        return 0;
    }

    switch (status) {

    case NGX_HTTP_MOVED_PERMANENTLY:
#if (NGX_PCRE)
        if (clcf->regex != NULL) {
            return 0;
        }
#endif
        return clcf->auto_redirect;

    case NGX_HTTP_NOT_FOUND:
        return clcf->internal;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return clcf->client_max_body_size != 0;

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        return ngx_http_lockbox_pages_regex(lcf);

    default:
        return 0;
    }
}


/* Whether this comes when no location is known, also of "return" there. */

static ngx_uint_t
ngx_http_lockbox_pages_header(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_int_t status)
{
    const ngx_int_t  *early;

    for (early = ngx_http_lockbox_pages_early; *early != 0; early++) {
        if (*early == status) {
            return 1;
        }
    }

    if (status == NGX_HTTP_INTERNAL_SERVER_ERROR
        && ngx_http_lockbox_pages_regex(lcf))
    {
        return 1;
    }

    return ngx_http_lockbox_warnings_ends(cf, lcf, status);
}


/*
 * A client may make a regular expression fail, which is an error of the
 * location that nginx would have taken without it.
 */

static ngx_uint_t
ngx_http_lockbox_pages_regex(const ngx_http_lockbox_loc_conf_t *lcf)
{
#if (NGX_PCRE)
    ngx_uint_t                       untried;
    const ngx_http_core_loc_conf_t  *clcf;

    untried = 0;

    for ( /* void */ ; lcf->loc_conf != NULL; lcf = lcf->parent) {
        clcf = ngx_http_lockbox_warnings_core(lcf);

        if (clcf->regex_locations != NULL && !untried) {
            return 1;
        }

        untried = clcf->noregex || clcf->exact_match || clcf->regex != NULL;
    }
#endif

    return 0;
}


static void
ngx_http_lockbox_pages_init(ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_main_conf_t *mcf,
    const ngx_http_lockbox_loc_conf_t *lcf, const ngx_http_err_page_t *err)
{
    u_char  *p;

    page->mcf = mcf;
    page->server = lcf->server;
    page->head = err->value.value;
    page->variable = err->value.lengths != NULL;

    if (page->variable) {
        p = ngx_strlchr(page->head.data, page->head.data + page->head.len,
                        '$');

        if (p != NULL) {
            page->head.len = (size_t) (p - page->head.data);
        }

        if (ngx_lockbox_text_among(&err->value.value,
                                   ngx_http_lockbox_pages_same))
        {
            /* as if it had no variables: the path is the same */
            ngx_str_null(&page->head);
            page->variable = 0;
        }
    }
}


/*
 * What is not gated and may serve the client's path if the page leads there.
 * A page of a path without variables has nothing of the client's.
 */

static const ngx_http_core_loc_conf_t *
ngx_http_lockbox_pages_open(ngx_conf_t *cf,
    const ngx_http_lockbox_page_t *page)
{
    ngx_uint_t                     i;
    ngx_http_lockbox_loc_conf_t  **places;

    if (!page->variable
        && (page->head.len == 0 || page->head.data[0] != '@'))
    {
        return NULL;
    }

    places = page->mcf->places.elts;

    for (i = 0; i < page->mcf->places.nelts; i++) {

        if (places[i]->server == page->server
            && ngx_http_lockbox_pages_forgotten(places[i])
            && ngx_http_lockbox_pages_takes(page, places[i])
            && ngx_http_lockbox_pages_serves(cf, page, places[i]))
        {
            return ngx_http_lockbox_warnings_core(places[i]);
        }
    }

    return NULL;
}


/* Whether the location of the page is one that nothing is recorded of. */

static ngx_uint_t
ngx_http_lockbox_pages_unrecorded(const ngx_http_lockbox_page_t *page)
{
    ngx_uint_t                     i;
    ngx_http_lockbox_loc_conf_t  **places;

    if (!page->variable) {

        if (page->head.len == 0) {
            return 0;
        }

        if (page->head.data[0] == '/') {
            return ngx_http_lockbox_pages_forgotten(
                                         ngx_http_lockbox_pages_longest(page));
        }
    }

    places = page->mcf->places.elts;

    for (i = 0; i < page->mcf->places.nelts; i++) {

        if (places[i]->server == page->server
            && ngx_http_lockbox_pages_forgotten(places[i])
            && ngx_http_lockbox_pages_takes(page, places[i]))
        {
            return 1;
        }
    }

    return 0;
}


/*
 * Without a handler a location has files, which are of interest where they
 * are those that are gated elsewhere; or its answer is a "return".
 */

static ngx_uint_t
ngx_http_lockbox_pages_serves(ngx_conf_t *cf,
    const ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    ngx_uint_t                        i;
    ngx_http_lockbox_loc_conf_t     **gated;
    const ngx_http_core_loc_conf_t   *clcf, *files;

    clcf = ngx_http_lockbox_warnings_core(lcf);

    if (clcf->handler != NULL) {
        return 1;
    }

    if (!clcf->named || ngx_http_lockbox_warnings_answers(cf, lcf)) {
        return 0;
    }

    gated = page->mcf->gated.elts;

    for (i = 0; i < page->mcf->gated.nelts; i++) {
        files = ngx_http_lockbox_warnings_core(gated[i]);

        if (gated[i]->server == page->server
            && files->handler == NULL
            && !files->noname
            && ngx_lockbox_text_same(&files->root, &clcf->root))
        {
            return 1;
        }
    }

    return 0;
}


/* What stands in a block without a name, such as "if", its location takes. */

static ngx_uint_t
ngx_http_lockbox_pages_takes(const ngx_http_lockbox_page_t *page,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    const ngx_str_t                 *head;
    const ngx_http_core_loc_conf_t  *clcf;
#if (NGX_PCRE)
    ngx_str_t                        other;
#endif

    head = &page->head;
    clcf = ngx_http_lockbox_warnings_core(lcf);

    while (clcf->noname) {
        lcf = lcf->parent;
        clcf = ngx_http_lockbox_warnings_core(lcf);
    }

    if (!page->variable) {
        return clcf->named && ngx_lockbox_text_same(&clcf->name, head);
    }

    if (head->len == 0) {
        return 1;
    }

    if (clcf->named || head->data[0] != '/') {
        return clcf->named && ngx_http_lockbox_pages_begins(&clcf->name, head);
    }

#if (NGX_PCRE)
    if (clcf->regex != NULL) {
        other = ngx_http_lockbox_warnings_head(clcf);

        return ngx_strncasecmp(other.data, head->data,
                               ngx_min(other.len, head->len)) == 0;
    }
#endif

    return ngx_http_lockbox_pages_begins(&clcf->name, head)
           || lcf == ngx_http_lockbox_pages_longest(page);
}


/*
 * The location that nginx takes for what the page begins with, as far as that
 * is no matter of regular expressions: the server, if it has none for that.
 */

static const ngx_http_lockbox_loc_conf_t *
ngx_http_lockbox_pages_longest(const ngx_http_lockbox_page_t *page)
{
    size_t                               len;
    ngx_uint_t                           i;
    ngx_http_lockbox_loc_conf_t        **places;
    const ngx_http_core_loc_conf_t      *clcf;
    const ngx_http_lockbox_loc_conf_t   *longest;

    len = 0;
    longest = NULL;
    places = page->mcf->places.elts;

    for (i = 0; i < page->mcf->places.nelts; i++) {
        clcf = ngx_http_lockbox_warnings_core(places[i]);

        if (places[i]->server != page->server || clcf->noname || clcf->named) {
            continue;
        }

#if (NGX_PCRE)
        if (clcf->regex != NULL) {
            continue;
        }
#endif

        if (clcf->exact_match
            ? page->variable
              || !ngx_lockbox_text_same(&clcf->name, &page->head)
            : !ngx_http_lockbox_pages_begins(&page->head, &clcf->name))
        {
            continue;
        }

        if (longest == NULL || clcf->name.len > len || clcf->exact_match) {
            longest = places[i];
            len = clcf->name.len;
        }
    }

    return longest;
}


/* Nobody has said what it is: no gate, no "lockbox off", no admin API. */

static ngx_uint_t
ngx_http_lockbox_pages_forgotten(const ngx_http_lockbox_loc_conf_t *lcf)
{
    return lcf->file.len == 0 && lcf->recorded.len == 0;
}


static ngx_uint_t
ngx_http_lockbox_pages_begins(const ngx_str_t *text, const ngx_str_t *head)
{
    /* the name of a server is not even there to be compared */

    return head->len == 0
           || (text->len >= head->len
               && ngx_memcmp(text->data, head->data, head->len) == 0);
}
