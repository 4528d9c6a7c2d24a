/*
 * What the bodies of admin calls say: pure, without a request or a
 * configuration.
 */

#ifndef _NGX_LOCKBOX_BODY_H_INCLUDED_
#define _NGX_LOCKBOX_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_json.h"
#include "ngx_lockbox_scope.h"


/* The shortest window, in seconds. */
#define NGX_LOCKBOX_BODY_DURATION_MIN  60


/* The reason codes, ended by NULL. */
extern const char *const  ngx_lockbox_body_reasons[];


/* What the operator lets a filing ask for. */
typedef struct {
    int64_t              max_duration;  /* seconds */
    ngx_regex_t         *ticket;        /* NULL: no pattern, may be missing */
} ngx_lockbox_body_limits_t;


/* Texts are borrowed from the body. */
typedef struct {
    ngx_str_t            justification;
    ngx_str_t            reason;
    ngx_str_t            ticket;        /* empty: none */
    int64_t              duration;      /* seconds */
    ngx_str_t            extends;       /* an id; empty: nothing */
    ngx_lockbox_scope_t  scope;
} ngx_lockbox_body_filing_t;


/* Which members the body of a step may have. */
typedef enum {
    NGX_LOCKBOX_BODY_GRANT = 0,         /* none */
    NGX_LOCKBOX_BODY_STEP,              /* version, comment */
    NGX_LOCKBOX_BODY_ANSWER,            /* the same, comment required */
    NGX_LOCKBOX_BODY_DENIAL,            /* the same, version required */
    NGX_LOCKBOX_BODY_QUESTION,          /* the same, both required */
    NGX_LOCKBOX_BODY_APPROVAL           /* as a denial, access and duration */
} ngx_lockbox_body_form_e;


typedef struct {
    int64_t              version;       /* 0: not stated */
    ngx_str_t            comment;       /* borrowed; empty: none */
    ngx_lockbox_scope_t  scope;         /* nelts 0: as it stands */
    int64_t              duration;      /* seconds; 0: as it stands */
} ngx_lockbox_body_step_t;


/*
 * Reads the body that files a request: justification (10 to 2000 characters),
 * reason (one of the codes), duration (60 s to the limit), ticket (a line of 1
 * to 128 characters in the form of the limit), access, extends (an id, may be
 * missing), and nothing else.  In texts each character shows, and no token
 * stands.
 *
 * NGX_OK; NGX_DECLINED and the fault; NGX_ERROR without memory.
 */
ngx_int_t ngx_lockbox_body_filing(ngx_pool_t *pool, const json_t *body,
    const ngx_lockbox_body_limits_t *limits,
    ngx_lockbox_body_filing_t *filing, ngx_lockbox_fault_t *fault);

/*
 * Reads the body of a step on a request: version (1 or more), comment (1 to
 * 2000 characters), and to narrow it duration (60 s or more) and access, as
 * far as the form has them and wants them; and nothing else.  Texts and what
 * is returned are as above.
 */
ngx_int_t ngx_lockbox_body_step(ngx_pool_t *pool, const json_t *body,
    ngx_lockbox_body_form_e form, ngx_lockbox_body_step_t *step,
    ngx_lockbox_fault_t *fault);


#endif /* _NGX_LOCKBOX_BODY_H_INCLUDED_ */
