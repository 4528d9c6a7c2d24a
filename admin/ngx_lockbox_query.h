/*
 * What query strings say: pure, without a request or a configuration.
 */

#ifndef _NGX_LOCKBOX_QUERY_H_INCLUDED_
#define _NGX_LOCKBOX_QUERY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_lockbox_json.h"


/*
 * What the value of a parameter may be, and the type of the member that it
 * goes to.
 */
typedef enum {
    NGX_LOCKBOX_QUERY_WORD = 0,   /* one of "words": ngx_str_t */
    NGX_LOCKBOX_QUERY_WORDS,      /* one or more of "words", each once, with
                                     commas between: uint64_t, a bit for each
                                     in their order */
    NGX_LOCKBOX_QUERY_TEXT,       /* UTF-8 without control characters, 1 to
                                     "max" bytes: ngx_str_t */
    NGX_LOCKBOX_QUERY_TIME,       /* RFC 3339, 1970 to 9999: int64_t, Unix ms;
                                     what is finer is rounded up */
    NGX_LOCKBOX_QUERY_ID,         /* a request's: ngx_str_t */
    NGX_LOCKBOX_QUERY_TENANT,     /* ngx_str_t */
    NGX_LOCKBOX_QUERY_NUMBER      /* "min" (not negative) to "max": int64_t */
} ngx_lockbox_query_type_e;


typedef struct {
    const char                *name;
    ngx_lockbox_query_type_e   type;
    size_t                     offset;  /* of the member that it goes to */
    const char *const         *words;   /* at most 64; NULL ends them */
    int64_t                    min;
    int64_t                    max;
} ngx_lockbox_query_parameter_t;


/*
 * Takes a query (without its "?") apart by a table of at most 64 parameters
 * that ends with a name of NULL.  Each that is given goes to its member of
 * "values"; the members of others stay as they are.
 *
 * A name stands as it is.  In a value what RFC 3986 reserves may be
 * percent-encoded, what it does not let stand in a query must be, and what is
 * unreserved must not, so that a value has one spelling; a bare "+", which
 * some take for a space, is refused.  So is a parameter that is unknown,
 * repeated, without a value or out of range.
 *
 * NGX_OK, with texts in pool memory; NGX_DECLINED and the fault, whose member
 * is the name of the parameter (borrowed from the query); NGX_ERROR without
 * memory.
 */
ngx_int_t ngx_lockbox_query_read(ngx_pool_t *pool, const ngx_str_t *query,
    const ngx_lockbox_query_parameter_t *parameters, void *values,
    ngx_lockbox_fault_t *fault);

/*
 * Reads a time (RFC 3339 section 5.6), 1970 to 9999, seconds up to 59: Unix
 * milliseconds, rounded up, so that to compare a time of whole milliseconds
 * with it is to compare with what was written.  NGX_ERROR when it is none.
 */
int64_t ngx_lockbox_query_time(const ngx_str_t *text);


#endif /* _NGX_LOCKBOX_QUERY_H_INCLUDED_ */
