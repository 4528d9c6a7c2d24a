/*
 * Which of several media types a client prefers.
 */

#include "ngx_lockbox_accept.h"
#include "ngx_lockbox_text.h"


/* In thousandths, and the longest text of one: "0.123". */
#define NGX_LOCKBOX_ACCEPT_WEIGHT      1000
#define NGX_LOCKBOX_ACCEPT_WEIGHT_LEN  5


/* How exactly a range names a type; a greater one has precedence. */
typedef enum {
    NGX_LOCKBOX_ACCEPT_NOT,
    NGX_LOCKBOX_ACCEPT_ANY,
    NGX_LOCKBOX_ACCEPT_MAIN,
    NGX_LOCKBOX_ACCEPT_KIND,      /* it has parameters besides */
    NGX_LOCKBOX_ACCEPT_EXACT,
    NGX_LOCKBOX_ACCEPT_RANKS
} ngx_lockbox_accept_rank_e;


static ngx_int_t ngx_lockbox_accept_score(const ngx_str_t *accept,
    const ngx_str_t *type);
static ngx_lockbox_accept_rank_e ngx_lockbox_accept_range(
    const ngx_str_t *element, const ngx_str_t *type, ngx_int_t *weight);
static ngx_lockbox_accept_rank_e ngx_lockbox_accept_rank(
    const ngx_str_t *range, const ngx_str_t *type);
static ngx_int_t ngx_lockbox_accept_weight(const u_char *text, size_t len);
static ngx_uint_t ngx_lockbox_accept_next(ngx_str_t *rest, u_char separator,
    ngx_str_t *part);
static ngx_uint_t ngx_lockbox_accept_blank(u_char c);


ngx_uint_t
ngx_lockbox_accept(const ngx_str_t *accept, const ngx_str_t *offered)
{
    ngx_int_t   score, best;
    ngx_uint_t  i, chosen;

    /* what is not acceptable scores less than that */

    best = NGX_LOCKBOX_ACCEPT_RANKS;
    chosen = 0;

    for (i = 0; offered[i].len != 0; i++) {
        score = ngx_lockbox_accept_score(accept, &offered[i]);

        if (score > best) {
            best = score;
            chosen = i;
        }
    }

    return chosen;
}


/* The weight counts first, and then the rank. */

static ngx_int_t
ngx_lockbox_accept_score(const ngx_str_t *accept, const ngx_str_t *type)
{
    ngx_int_t                  weight, score;
    ngx_str_t                  rest, element;
    ngx_lockbox_accept_rank_e  rank, best;

    rest = *accept;
    best = NGX_LOCKBOX_ACCEPT_NOT;
    score = NGX_LOCKBOX_ACCEPT_NOT;

    while (ngx_lockbox_accept_next(&rest, ',', &element)) {
        rank = ngx_lockbox_accept_range(&element, type, &weight);

        if (rank > best) {
            best = rank;
            score = weight * NGX_LOCKBOX_ACCEPT_RANKS + (ngx_int_t) rank;
        }
    }

    return score;
}


/*
 * The rank and the weight.  What follows "q" was for extensions once, which
 * nobody had.
 */

static ngx_lockbox_accept_rank_e
ngx_lockbox_accept_range(const ngx_str_t *element, const ngx_str_t *type,
    ngx_int_t *weight)
{
    ngx_str_t                  rest, part;
    ngx_lockbox_accept_rank_e  rank;

    rest = *element;
    *weight = NGX_LOCKBOX_ACCEPT_WEIGHT;

    ngx_str_null(&part);
    (void) ngx_lockbox_accept_next(&rest, ';', &part);

    rank = ngx_lockbox_accept_rank(&part, type);

    while (ngx_lockbox_accept_next(&rest, ';', &part)) {

        if (part.len >= 2
            && ngx_strncasecmp(part.data, (u_char *) "q=", 2) == 0)
        {
            *weight = ngx_lockbox_accept_weight(part.data + 2, part.len - 2);

            return *weight == NGX_ERROR ? NGX_LOCKBOX_ACCEPT_NOT : rank;
        }

        if (part.len != 0 && rank == NGX_LOCKBOX_ACCEPT_EXACT) {
            rank = NGX_LOCKBOX_ACCEPT_KIND;
        }
    }

    return rank;
}


static ngx_lockbox_accept_rank_e
ngx_lockbox_accept_rank(const ngx_str_t *range, const ngx_str_t *type)
{
    ngx_uint_t  main;

    if (range->len == type->len
        && ngx_strncasecmp(range->data, type->data, type->len) == 0)
    {
        return NGX_LOCKBOX_ACCEPT_EXACT;
    }

    /* a type has one slash, so what is before the asterisk is all of it */

    main = range->len > 1
           && range->len <= type->len
           && ngx_strncmp(range->data + range->len - 2, "/*", 2) == 0
           && ngx_strncasecmp(range->data, type->data, range->len - 1) == 0;

    return main ? NGX_LOCKBOX_ACCEPT_MAIN
           : ngx_lockbox_text_is(range, "*/*") ? NGX_LOCKBOX_ACCEPT_ANY
           : NGX_LOCKBOX_ACCEPT_NOT;
}


/* NGX_ERROR if it is no weight (RFC 9110 section 12.4.2). */

static ngx_int_t
ngx_lockbox_accept_weight(const u_char *text, size_t len)
{
    size_t     i;
    ngx_int_t  weight, unit;

    if (len == 0
        || len > NGX_LOCKBOX_ACCEPT_WEIGHT_LEN
        || (len > 1 && text[1] != '.'))
    {
        return NGX_ERROR;
    }

    weight = 0;
    unit = NGX_LOCKBOX_ACCEPT_WEIGHT;

    for (i = 0; i < len; i++) {

        if (i == 1) {
            continue;
        }

        if (text[i] < '0' || text[i] > '9') {
            return NGX_ERROR;
        }

        weight += (text[i] - '0') * unit;
        unit /= 10;
    }

    return weight <= NGX_LOCKBOX_ACCEPT_WEIGHT ? weight : NGX_ERROR;
}


/*
 * Takes the next part from the rest, without blanks around it; 0 at the end.
 * What is in quotes separates nothing.
 */

static ngx_uint_t
ngx_lockbox_accept_next(ngx_str_t *rest, u_char separator, ngx_str_t *part)
{
    u_char      *p, *first, *end, *last;
    ngx_uint_t   quoted, escaped;

    if (rest->len == 0) {
        return 0;
    }

    quoted = 0;
    escaped = 0;
    last = rest->data + rest->len;

    for (p = rest->data; p < last && (quoted || *p != separator); p++) {

        if (escaped) {
            escaped = 0;

        } else if (*p == '"') {
            quoted = !quoted;

        } else {
            escaped = (quoted && *p == '\\');
        }
    }

    for (first = rest->data;
         first < p && ngx_lockbox_accept_blank(*first);
         first++)
    {
        /* void */
    }

    for (end = p; end > first && ngx_lockbox_accept_blank(end[-1]); end--) {
        /* void */
    }

    part->data = first;
    part->len = (size_t) (end - first);

    if (p < last) {
        p++;
    }

    rest->data = p;
    rest->len = (size_t) (last - p);

    return 1;
}


static ngx_uint_t
ngx_lockbox_accept_blank(u_char c)
{
    return c == ' ' || c == '\t';
}
