/*
 * The description of the API: what admin/openapi.json says.
 */

#include "ngx_http_lockbox_admin.h"
#include "ngx_lockbox_assets.h"


/*
 * "application/openapi+json" would name the format, but browsers and many
 * tools show and read only what they know to be JSON.
 */

void
ngx_http_lockbox_admin_openapi(ngx_http_lockbox_admin_call_t *call)
{
    ngx_str_t  text;

    text.data = (u_char *) ngx_lockbox_openapi_json;
    text.len = sizeof(ngx_lockbox_openapi_json);

    ngx_http_lockbox_admin_answer_text(call, "application/json", &text);
}
