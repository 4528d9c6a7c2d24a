/*
 * What nginx itself refuses where the admin API is mounted, in the words of
 * the API: its callers are programs, which read no page.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_http_lockbox_problem.h"


typedef struct {
    ngx_uint_t               status;
    ngx_lockbox_decision_t   decision;
    const char              *detail;
} ngx_http_lockbox_admin_error_t;


static ngx_int_t ngx_http_lockbox_admin_error_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_lockbox_admin_error_send(ngx_http_request_t *r,
    const ngx_http_lockbox_admin_error_t *error);


/* Those for which there is a word: client_max_body_size, and limit_req. */

static const ngx_http_lockbox_admin_error_t
    ngx_http_lockbox_admin_errors[] =
{
    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, NGX_LOCKBOX_TOO_LARGE,
      "The body is larger than this server takes." },
    { NGX_HTTP_TOO_MANY_REQUESTS, NGX_LOCKBOX_TOO_MANY_REQUESTS,
      "These are more calls than this server takes at a time: try again "
      "later." },
    { 0, NGX_LOCKBOX_NOT_DECIDED, NULL }
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


void
ngx_http_lockbox_admin_errors_init(void)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_lockbox_admin_error_filter;
}


/* Only nginx's own page has err_status: our answers have taken it away. */

static ngx_int_t
ngx_http_lockbox_admin_error_filter(ngx_http_request_t *r)
{
    ngx_http_lockbox_admin_loc_conf_t     *lcf;
    const ngx_http_lockbox_admin_error_t  *error;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_admin_module);

    if (!lcf->enable || r != r->main || r->err_status == 0) {
        return ngx_http_next_header_filter(r);
    }

    for (error = ngx_http_lockbox_admin_errors; error->status != 0; error++) {
        if (r->err_status == error->status) {
            return ngx_http_lockbox_admin_error_send(r, error);
        }
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_lockbox_admin_error_send(ngx_http_request_t *r,
    const ngx_http_lockbox_admin_error_t *error)
{
    ngx_int_t                     rc;
    ngx_http_lockbox_leg_t       *leg;
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_lockbox_module);

    leg = ngx_http_lockbox_audit_leg(r, 0);

    if (leg == NULL || (leg->gated && leg->intended)) {
        leg = ngx_http_lockbox_audit_next(r);
        if (leg == NULL) {
            return NGX_ERROR;
        }

        leg->action = lcf->recorded;
    }

    leg->decision = error->decision;
    leg->refused = 1;

    ngx_http_clean_header(r);

    rc = ngx_http_lockbox_problem_send(r, error->decision, &lcf->realm,
                                       error->detail, NULL);

    /* whoever sends the page that this replaces has no more to send */

    r->header_only = 1;

    return rc > NGX_OK ? NGX_ERROR : rc;
}
