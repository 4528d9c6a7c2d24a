/*
 * A tenant's policy as the module believes it: what its seal bears out, and
 * nothing that only Redis says.
 */

#ifndef _NGX_HTTP_LOCKBOX_ADMIN_POLICY_H_INCLUDED_
#define _NGX_HTTP_LOCKBOX_ADMIN_POLICY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "ngx_http_lockbox_admin.h"
#include "ngx_lockbox_policy.h"
#include "ngx_lockbox_policy_seal.h"
#include "ngx_lockbox_seal.h"


typedef struct {
    int64_t                     version;   /* 0: none is set */
    ngx_lockbox_policy_seal_t   seal;      /* zeroed for none */
    ngx_lockbox_policy_t        rules;     /* within the operator's limits */
} ngx_http_lockbox_admin_policy_t;


/*
 * Asks Redis for the policy in force of the call's tenant; the handler gets
 * what policy_open() reads.
 */
void ngx_http_lockbox_admin_policy_look(ngx_http_lockbox_admin_call_t *call,
    ngx_http_lockbox_admin_step_pt handler);

/*
 * Reads the policy in force from the fields of its hash and verifies its
 * seal; its version goes into the call's audit record.
 *
 * NGX_OK; NGX_DECLINED, with a line in the error log, when the fields are not
 * what was sealed: then nothing that depends on a policy may be done; NGX_ERROR
 * without memory.
 */
ngx_int_t ngx_http_lockbox_admin_policy_open(
    ngx_http_lockbox_admin_call_t *call, const json_t *fields,
    ngx_http_lockbox_admin_policy_t *policy);

/*
 * Says in the seal of a step which policy it goes by.
 */
void ngx_http_lockbox_admin_policy_seal(
    const ngx_http_lockbox_admin_policy_t *policy, ngx_lockbox_seal_t *seal);


#endif /* _NGX_HTTP_LOCKBOX_ADMIN_POLICY_H_INCLUDED_ */
