/*
 * Requests as the module believes them: what the seals bear out, and nothing
 * that only Redis says.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_SEALS_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_SEALS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "ngx_http_lockbox_admin.h"
#include "ngx_lockbox_scope.h"
#include "ngx_lockbox_seal.h"


typedef struct {
    ngx_str_t              id;
    ngx_str_t              state;         /* Redis's word: order, no more */
    int64_t                version;
    int64_t                lapses_at;     /* ms; Redis's word: time, no more */
    int64_t                duration;      /* sealed */
    ngx_lockbox_scope_t    scope;         /* sealed */
    ngx_str_t              engineer_iss;  /* sealed */
    ngx_str_t              engineer_sub;  /* sealed */
    ngx_str_t              extends;       /* sealed; empty: nothing */
    ngx_lockbox_seal_t    *seals;
    ngx_uint_t             nseals;
    ngx_str_t              last;          /* hash of the last seal */
    ngx_str_t              asked;         /* stage that waits for an answer */
} ngx_http_lockbox_admin_case_t;


/*
 * Reads a request from the fields of its hash and verifies its seals against
 * everything that permission hangs on.  The names of those who approved go
 * into the call's audit record.
 *
 * NGX_OK; NGX_DECLINED, with a line in the error log, when the fields are not
 * what was sealed; NGX_ERROR without memory.
 */
ngx_int_t ngx_http_lockbox_admin_case_open(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields,
    ngx_http_lockbox_admin_case_t *request);

/*
 * The same of the request that another one extends: as of its end, if it is
 * over, for seals do not count as long as history; and its approvals go on
 * record with it, not with the other one.
 */
ngx_int_t ngx_http_lockbox_admin_case_old(
    ngx_http_lockbox_admin_call_t *call, const ngx_str_t *id,
    const json_t *fields, ngx_http_lockbox_admin_case_t *request);

/*
 * The window of a request that was approved, Unix seconds, as it follows from
 * the seals alone.  NGX_OK; NGX_DECLINED, and the window too, when it was
 * approved by fewer than are needed now; NGX_ERROR, with a line in the error
 * log, when approvals are missing that were needed then.
 */
ngx_int_t ngx_http_lockbox_admin_window(ngx_http_lockbox_admin_call_t *call,
    const ngx_http_lockbox_admin_case_t *request, time_t *begins,
    time_t *ends);

/*
 * Seals a step of the caller's.  "seal" comes with engineer, version,
 * duration, stage, decision, prev, extends and begins; the rest is filled in.
 * "said" (borrowed, NULL stands for no memory) is what the caller has written:
 * its hash is sealed, and of all steps but the filing, which is the request
 * itself, it is kept with the decision.  "access" becomes the JSON text of the
 * scope, "decision" that of the decision with its seal, both pool memory.
 * NGX_ERROR without memory or when OpenSSL refuses.
 */
ngx_int_t ngx_http_lockbox_admin_seal(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, const ngx_lockbox_scope_t *scope, json_t *said,
    ngx_str_t *access, ngx_str_t *decision);

/*
 * The same for a step that is not the caller's: by, token_hash, auth_time, acr
 * and at come with the seal, too.
 */
ngx_int_t ngx_http_lockbox_admin_seal_by(ngx_http_lockbox_admin_call_t *call,
    ngx_lockbox_seal_t *seal, const ngx_lockbox_scope_t *scope, json_t *said,
    ngx_str_t *access, ngx_str_t *decision);

/*
 * The decision of a step of the caller's without a seal, for a request that
 * none can go on from; "seal" comes with stage and decision.  It verifies as
 * nothing, and is there to be read.
 */
ngx_int_t ngx_http_lockbox_admin_unsealed(
    ngx_http_lockbox_admin_call_t *call, ngx_lockbox_seal_t *seal,
    json_t *said, ngx_str_t *decision);

/*
 * Who a seal is by, and when and how they had logged in; a new reference, NULL
 * without memory.
 */
json_t *ngx_http_lockbox_admin_decider(const ngx_lockbox_seal_t *seal);

/*
 * The arguments of a step about the request that the path names, or another
 * one of its tenant: actor, tenant, id, managers.  A new reference, NULL
 * without memory.
 */
json_t *ngx_http_lockbox_admin_about(ngx_http_lockbox_admin_call_t *call);
json_t *ngx_http_lockbox_admin_about_other(
    ngx_http_lockbox_admin_call_t *call, const ngx_str_t *id);


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_SEALS_H_INCLUDED_ */
