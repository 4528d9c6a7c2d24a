/*
 * What "nginx -t" says of directives that stand around a gate.
 */

#include "ngx_http_lockbox_warnings.h"
#include "ngx_http_lockbox_pages.h"


static void ngx_http_lockbox_warnings_codes(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf);
static const ngx_array_t *ngx_http_lockbox_warnings_script(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf);

#if (NGX_PCRE)
static ngx_uint_t ngx_http_lockbox_warnings_forgotten(
    const ngx_http_core_loc_conf_t *clcf);
static void ngx_http_lockbox_warnings_regex(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf);
static const ngx_http_core_loc_conf_t *ngx_http_lockbox_warnings_earlier(
    const ngx_http_lockbox_loc_conf_t *level,
    const ngx_http_core_loc_conf_t *gated);
static ngx_uint_t ngx_http_lockbox_warnings_choice(const u_char *p,
    const u_char *last);
static ngx_uint_t ngx_http_lockbox_warnings_literal(u_char c);
#endif


ngx_int_t
ngx_http_lockbox_warnings(ngx_conf_t *cf,
    const ngx_http_lockbox_main_conf_t *mcf)
{
    ngx_uint_t                     i;
    ngx_http_lockbox_loc_conf_t  **gated;

    gated = mcf->gated.elts;

    for (i = 0; i < mcf->gated.nelts; i++) {
        ngx_http_lockbox_warnings_codes(cf, gated[i]);

#if (NGX_PCRE)
        ngx_http_lockbox_warnings_regex(cf, gated[i]);
#endif
    }

    return ngx_http_lockbox_pages(cf, mcf);
}


void
ngx_http_lockbox_warnings_say(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, const char *directive,
    const char *what)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_lockbox_warnings_core(lcf);

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "\"%s\" in a %s%V%s that is gated in %V:%ui: %s",
                  directive, clcf->name.len != 0 ? "location \"" : "server",
                  &clcf->name, clcf->name.len != 0 ? "\"" : "",
                  &lcf->file, lcf->line, what);
}


/*
 * What "return" and "rewrite" are compiled to is the rewrite module's own
 * affair, but all of it begins with public functions of ngx_http_script.h:
 * an array of bytes, in it structures that are whole words, each with the
 * function that runs it in front.  So a word that is such a function is most
 * probably a directive.  Those of "if" blocks are in there as well.
 */

static void
ngx_http_lockbox_warnings_codes(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    u_char                         *p, *last;
    uintptr_t                       word;
    ngx_uint_t                      answers, rewrites;
    const ngx_array_t              *codes;
    ngx_http_script_return_code_t  *ret;
#if (NGX_PCRE)
    ngx_http_script_regex_code_t   *regex;
#endif

    codes = ngx_http_lockbox_warnings_script(cf, lcf);
    if (codes == NULL) {
        return;
    }

    answers = 0;
    rewrites = 0;
    last = (u_char *) codes->elts + codes->nelts * codes->size;

    for (p = codes->elts;
         (size_t) (last - p) >= sizeof(ngx_http_script_return_code_t);
         p += sizeof(uintptr_t))
    {
        word = *(uintptr_t *) (void *) p;

        if (word == (uintptr_t) ngx_http_script_return_code) {
            ret = (ngx_http_script_return_code_t *) (void *) p;

            /* what is an error anyway need not pass the gate */
            answers |= ret->status < NGX_HTTP_BAD_REQUEST;
        }

#if (NGX_PCRE)
        if (word == (uintptr_t) ngx_http_script_regex_start_code
            && (size_t) (last - p) >= sizeof(ngx_http_script_regex_code_t))
        {
            regex = (ngx_http_script_regex_code_t *) (void *) p;

            if (!regex->test) {
                answers |= regex->redirect;
                rewrites |= !regex->redirect;
            }
        }
#endif
    }

    if (answers) {
        ngx_http_lockbox_warnings_say(cf, lcf, "return",
                    "it, or a redirect by \"rewrite\", answers before the "
                    "gate could allow it, so clients get 503 instead");
    }

    if (rewrites) {
        ngx_http_lockbox_warnings_say(cf, lcf, "rewrite",
                    "the gate judges what it makes of the path, if the "
                    "location that this leads to is gated");
    }
}


ngx_uint_t
ngx_http_lockbox_warnings_ends(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf, ngx_int_t status)
{
    u_char                         *p, *last;
    uintptr_t                       word;
    const ngx_array_t              *codes;
    ngx_http_script_return_code_t  *ret;

    codes = ngx_http_lockbox_warnings_script(cf, lcf);
    if (codes == NULL) {
        return 0;
    }

    last = (u_char *) codes->elts + codes->nelts * codes->size;

    for (p = codes->elts;
         (size_t) (last - p) >= sizeof(ngx_http_script_return_code_t);
         p += sizeof(uintptr_t))
    {
        word = *(uintptr_t *) (void *) p;

        if (word == (uintptr_t) ngx_http_script_return_code) {
            ret = (ngx_http_script_return_code_t *) (void *) p;

            if (ret->status == (uintptr_t) status) {
                return 1;
            }
        }

#if (NGX_PCRE)
        if (word == (uintptr_t) ngx_http_script_regex_start_code
            && status == NGX_HTTP_INTERNAL_SERVER_ERROR)
        {
            return 1;
        }
#endif
    }

    return 0;
}


ngx_uint_t
ngx_http_lockbox_warnings_answers(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    const ngx_array_t  *codes;

    codes = ngx_http_lockbox_warnings_script(cf, lcf);

    return codes != NULL
           && codes->nelts * codes->size >= sizeof(uintptr_t)
           && *(uintptr_t *) codes->elts
              == (uintptr_t) ngx_http_script_return_code;
}


/*
 * The first member of the module's location configuration, in all releases
 * from 0.3.10 to 1.30.  It is found by its name: nginx can be built without.
 */

static const ngx_array_t *
ngx_http_lockbox_warnings_script(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    void          *conf;
    ngx_uint_t     i;
    ngx_module_t  *module;

    for (i = 0; cf->cycle->modules[i] != NULL; i++) {
        module = cf->cycle->modules[i];

        if (ngx_strcmp(module->name, "ngx_http_rewrite_module") == 0) {
            conf = lcf->loc_conf[module->ctx_index];
            return *(ngx_array_t **) conf;
        }
    }

    return NULL;
}


ngx_http_core_loc_conf_t *
ngx_http_lockbox_warnings_core(const ngx_http_lockbox_loc_conf_t *lcf)
{
    return lcf->loc_conf[ngx_http_core_module.ctx_index];
}


#if (NGX_PCRE)

/* Nobody has said that it is gated, or that it is not. */

static ngx_uint_t
ngx_http_lockbox_warnings_forgotten(const ngx_http_core_loc_conf_t *clcf)
{
    ngx_http_lockbox_loc_conf_t  *lcf;

    lcf = clcf->loc_conf[ngx_http_lockbox_module.ctx_index];

    return lcf->file.len == 0;
}


/*
 * A regular expression takes requests from all prefix locations beside it, and
 * from those in them, unless "^~" or "=" keeps it off; and from the regular
 * expressions behind it.  Who has written "lockbox off" there knows.
 */

static void
ngx_http_lockbox_warnings_regex(ngx_conf_t *cf,
    const ngx_http_lockbox_loc_conf_t *lcf)
{
    const ngx_http_core_loc_conf_t     *gated, *clcf, *earlier;
    const ngx_http_lockbox_loc_conf_t  *level;

    gated = ngx_http_lockbox_warnings_core(lcf);
    clcf = gated;

    if (gated->exact_match || gated->named) {
        return;
    }

    for (level = lcf->parent; level->loc_conf != NULL; level = level->parent) {

        /* who comes to the one around it has been warned of that one */

        if (level->enable || clcf->noregex) {
            return;
        }

        earlier = ngx_http_lockbox_warnings_earlier(level, gated);

        if (earlier != NULL) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "location \"~ %V\" is not gated and may take "
                          "requests from the location \"%V\" that is gated in "
                          "%V:%ui: use \"^~\" or another order, or write "
                          "\"lockbox off\" there if that is meant",
                          &earlier->name, &gated->name, &lcf->file, lcf->line);
            return;
        }

        if (clcf->regex != NULL) {
            return;
        }

        clcf = ngx_http_lockbox_warnings_core(level);
    }
}


static const ngx_http_core_loc_conf_t *
ngx_http_lockbox_warnings_earlier(const ngx_http_lockbox_loc_conf_t *level,
    const ngx_http_core_loc_conf_t *gated)
{
    size_t                      len;
    ngx_str_t                   one, other;
    ngx_http_core_loc_conf_t  **regex;

    regex = ngx_http_lockbox_warnings_core(level)->regex_locations;

    if (regex == NULL) {
        return NULL;
    }

    one = ngx_http_lockbox_warnings_head(gated);

    for ( /* void */ ; *regex != NULL && *regex != gated; regex++) {
        /* without a handler it has files, or nothing */

        if (!ngx_http_lockbox_warnings_forgotten(*regex)
            || ((*regex)->handler == NULL && gated->handler != NULL))
        {
            continue;
        }

        other = ngx_http_lockbox_warnings_head(*regex);
        len = ngx_min(one.len, other.len);

        if (ngx_strncasecmp(one.data, other.data, len) == 0) {
            return *regex;
        }
    }

    return NULL;
}


ngx_str_t
ngx_http_lockbox_warnings_head(const ngx_http_core_loc_conf_t *clcf)
{
    u_char     *p, *last;
    ngx_str_t   head;

    head = clcf->name;

    if (clcf->regex == NULL) {
        return head;
    }

    p = head.data;
    last = head.data + head.len;
    head.len = 0;

    if (p == last || *p != '^' || ngx_http_lockbox_warnings_choice(p, last)) {
        return head;
    }

    head.data = ++p;

    while (p < last && ngx_http_lockbox_warnings_literal(*p)) {
        p++;
    }

    head.len = (size_t) (p - head.data);

    /* that which can be repeated can be left out */

    if (p < last && (*p == '?' || *p == '*' || *p == '{') && head.len != 0) {
        head.len--;
    }

    return head;
}


/* Whether the "^" in front is that of the first of several alternatives. */

static ngx_uint_t
ngx_http_lockbox_warnings_choice(const u_char *p, const u_char *last)
{
    ngx_uint_t  groups;

    groups = 0;

    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case '\\':
            p++;
            break;

        case '(':
            groups++;
            break;

        case ')':
            groups--;
            break;

        case '|':
            if (groups == 0) {
                return 1;
            }
            break;

        default:
            break;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_lockbox_warnings_literal(u_char c)
{
    return (c >= '0' && c <= '9')
           || (c >= 'a' && c <= 'z')
           || (c >= 'A' && c <= 'Z')
           || c == '/' || c == '-' || c == '_';
}

#endif
