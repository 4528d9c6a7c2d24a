/*
 * Strict JSON on top of jansson: one reading of a text, or none.
 */

#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>

#include "ngx_lockbox_json.h"


/*
 * jansson's own reader, up to 2.15 at least, drops bytes of a text when it
 * gets no memory for them and goes on, or reads past the end of what it has:
 * a name or a path would change unnoticed.  It also skips a NUL behind a
 * number.  So texts are read here, and jansson only keeps the values.
 */
typedef struct {
    const u_char  *pos;
    const u_char  *last;
    u_char        *free;    /* for decoded texts; as long as the input left */
    ngx_uint_t     depth;

    ngx_pool_t           *pool;
    ngx_lockbox_fault_t  *fault;    /* NULL: nobody asks for it */
} ngx_lockbox_json_reader_t;


typedef struct {
    ngx_str_t      text;
    json_t      *(*value)(void);
} ngx_lockbox_json_word_t;


static json_t *ngx_lockbox_json_read(ngx_lockbox_json_reader_t *r);
static json_t *ngx_lockbox_json_read_nest(ngx_lockbox_json_reader_t *r,
    json_t *nest, u_char close);
static ngx_int_t ngx_lockbox_json_read_element(ngx_lockbox_json_reader_t *r,
    json_t *nest);
static ngx_int_t ngx_lockbox_json_read_twice(ngx_lockbox_json_reader_t *r,
    const char *name);
static ngx_int_t ngx_lockbox_json_read_failed(ngx_lockbox_json_reader_t *r,
    const json_t *nest, const char *name);
static ngx_int_t ngx_lockbox_json_read_text(ngx_lockbox_json_reader_t *r,
    ngx_str_t *text);
static ngx_int_t ngx_lockbox_json_read_escape(ngx_lockbox_json_reader_t *r);
static ngx_int_t ngx_lockbox_json_read_code(ngx_lockbox_json_reader_t *r,
    uint32_t *code);
static ngx_int_t ngx_lockbox_json_read_unit(ngx_lockbox_json_reader_t *r,
    uint32_t *unit);
static void ngx_lockbox_json_put_utf8(ngx_lockbox_json_reader_t *r,
    uint32_t code);
static json_t *ngx_lockbox_json_read_number(ngx_lockbox_json_reader_t *r);
static json_t *ngx_lockbox_json_read_word(ngx_lockbox_json_reader_t *r);
static ngx_uint_t ngx_lockbox_json_take(ngx_lockbox_json_reader_t *r,
    u_char c);
static u_char ngx_lockbox_json_peek(ngx_lockbox_json_reader_t *r);
static ngx_uint_t ngx_lockbox_json_skip(ngx_lockbox_json_reader_t *r,
    const char *set);
static ngx_uint_t ngx_lockbox_json_digits(ngx_lockbox_json_reader_t *r);

static void ngx_lockbox_json_cleanup(void *data);
static json_t *ngx_lockbox_json_member(const json_t *object, const u_char *p,
    const u_char *last, ngx_uint_t escaped);
static ngx_uint_t ngx_lockbox_json_token_is(const u_char *p,
    const u_char *last, ngx_uint_t escaped, const char *name);
static ngx_uint_t ngx_lockbox_json_listed(const char *name,
    const char *const *names);
static u_char *ngx_lockbox_json_token(ngx_pool_t *pool, const char *name);


static const ngx_lockbox_json_word_t  ngx_lockbox_json_words[] = {
    { ngx_string("true"), json_true },
    { ngx_string("false"), json_false },
    { ngx_string("null"), json_null },
    { ngx_null_string, NULL }
};


json_t *
ngx_lockbox_json_parse(ngx_pool_t *pool, const u_char *text, size_t len)
{
    return ngx_lockbox_json_parse_told(pool, text, len, NULL);
}


json_t *
ngx_lockbox_json_parse_told(ngx_pool_t *pool, const u_char *text, size_t len,
    ngx_lockbox_fault_t *fault)
{
    json_t                     *root;
    ngx_lockbox_json_reader_t   r;

    r.pos = text;
    r.last = text + len;
    r.depth = 0;
    r.pool = pool;
    r.fault = fault;

    if (fault != NULL) {
        fault->reason = NULL;
    }

    /* a text never gets longer, and its quotes make room for its NUL */

    r.free = ngx_pnalloc(pool, len + 1);
    if (r.free == NULL) {
        return NULL;
    }

    root = ngx_lockbox_json_read(&r);

    (void) ngx_lockbox_json_peek(&r);

    if (!json_is_object(root) || r.pos != r.last) {
        json_decref(root);
        return NULL;
    }

    return ngx_lockbox_json_own(pool, root);
}


static json_t *
ngx_lockbox_json_read(ngx_lockbox_json_reader_t *r)
{
    ngx_str_t  text;

    switch (ngx_lockbox_json_peek(r)) {

    case '{':
        return ngx_lockbox_json_read_nest(r, json_object(), '}');

    case '[':
        return ngx_lockbox_json_read_nest(r, json_array(), ']');

    case '"':
        if (ngx_lockbox_json_read_text(r, &text) != NGX_OK) {
            return NULL;
        }

        return ngx_lockbox_json_text(&text);

    case 't':
    case 'f':
    case 'n':
        return ngx_lockbox_json_read_word(r);

    default:
        return ngx_lockbox_json_read_number(r);
    }
}


/* Fills the object or array "nest", which it consumes, and returns it. */

static json_t *
ngx_lockbox_json_read_nest(ngx_lockbox_json_reader_t *r, json_t *nest,
    u_char close)
{
    if (r->depth == NGX_LOCKBOX_JSON_DEPTH) {
        goto failed;
    }

    r->depth++;
    r->pos++;

    if (!ngx_lockbox_json_take(r, close)) {

        do {
            if (ngx_lockbox_json_read_element(r, nest) != NGX_OK) {
                goto failed;
            }

        } while (ngx_lockbox_json_take(r, ','));

        if (!ngx_lockbox_json_take(r, close)) {
            goto failed;
        }
    }

    r->depth--;

    return nest;

failed:

    json_decref(nest);

    return NULL;
}


static ngx_int_t
ngx_lockbox_json_read_element(ngx_lockbox_json_reader_t *r, json_t *nest)
{
    ngx_str_t    text;
    const char  *name;

    if (json_is_array(nest)) {
        return json_array_append_new(nest, ngx_lockbox_json_read(r)) == 0
               ? NGX_OK : ngx_lockbox_json_read_failed(r, nest, NULL);
    }

    if (ngx_lockbox_json_peek(r) != '"'
        || ngx_lockbox_json_read_text(r, &text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    name = (const char *) text.data;

    if (json_object_get(nest, name)) {
        return ngx_lockbox_json_read_twice(r, name);
    }

    if (!ngx_lockbox_json_take(r, ':')) {
        return NGX_ERROR;
    }

    return ngx_lockbox_json_set(nest, name, ngx_lockbox_json_read(r)) == NGX_OK
           ? NGX_OK : ngx_lockbox_json_read_failed(r, nest, name);
}


static ngx_int_t
ngx_lockbox_json_read_twice(ngx_lockbox_json_reader_t *r, const char *name)
{
    if (r->fault == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&r->fault->member, "");
    r->fault->reason = "The member is there twice.";

    return ngx_lockbox_json_read_failed(r, NULL, name);
}


/*
 * If something is there twice, puts in front of its pointer where it lies in
 * the object or array "nest"; an element, which has no name, is the one that
 * was to come next.
 */

static ngx_int_t
ngx_lockbox_json_read_failed(ngx_lockbox_json_reader_t *r, const json_t *nest,
    const char *name)
{
    char                  index[NGX_SIZE_T_LEN + 1];
    u_char               *token;
    ngx_lockbox_fault_t  *fault;

    fault = r->fault;

    if (fault == NULL || fault->reason == NULL) {
        return NGX_ERROR;
    }

    if (name == NULL) {
        (void) snprintf(index, sizeof(index), "%zu", json_array_size(nest));
        name = index;
    }

    token = ngx_lockbox_json_token(r->pool, name);

    if (token == NULL
        || ngx_lockbox_json_fault(r->pool, fault, fault->reason, "/%s%.*s",
                                  (char *) token, (int) fault->member.len,
                                  (char *) fault->member.data)
           != NGX_DECLINED)
    {
        fault->reason = NULL;
    }

    return NGX_ERROR;
}


/*
 * Decodes the text whose quote is next; a NUL stands behind it.  Whether it
 * is UTF-8, jansson checks when it makes a value of it.
 */

static ngx_int_t
ngx_lockbox_json_read_text(ngx_lockbox_json_reader_t *r, ngx_str_t *text)
{
    u_char  c;

    text->data = r->free;
    r->pos++;

    while (r->pos < r->last) {
        c = *r->pos++;

        if (c == '"') {
            text->len = r->free - text->data;
            *r->free++ = '\0';
            return NGX_OK;
        }

        if (c < ' ') {
            return NGX_ERROR;
        }

        if (c != '\\') {
            *r->free++ = c;

        } else if (ngx_lockbox_json_read_escape(r) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_lockbox_json_read_escape(ngx_lockbox_json_reader_t *r)
{
    size_t             i;
    u_char             c;
    uint32_t           code;
    static const char  letters[] = "\"\\/bfnrt";
    static const char  meanings[] = "\"\\/\b\f\n\r\t";

    if (r->pos == r->last) {
        return NGX_ERROR;
    }

    c = *r->pos++;

    if (c == 'u') {
        if (ngx_lockbox_json_read_code(r, &code) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_lockbox_json_put_utf8(r, code);

        return NGX_OK;
    }

    for (i = 0; letters[i]; i++) {
        if (c == (u_char) letters[i]) {
            *r->free++ = (u_char) meanings[i];
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


/* The code point of one or, for a surrogate pair, two escapes; never NUL. */

static ngx_int_t
ngx_lockbox_json_read_code(ngx_lockbox_json_reader_t *r, uint32_t *code)
{
    uint32_t  high, low;

    if (ngx_lockbox_json_read_unit(r, &high) != NGX_OK || high == 0) {
        return NGX_ERROR;
    }

    *code = high;

    if (high < 0xd800 || high > 0xdfff) {
        return NGX_OK;
    }

    if (high > 0xdbff || r->last - r->pos < 2
        || r->pos[0] != '\\' || r->pos[1] != 'u')
    {
        return NGX_ERROR;
    }

    r->pos += 2;

    if (ngx_lockbox_json_read_unit(r, &low) != NGX_OK
        || low < 0xdc00 || low > 0xdfff)
    {
        return NGX_ERROR;
    }

    *code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);

    return NGX_OK;
}


static ngx_int_t
ngx_lockbox_json_read_unit(ngx_lockbox_json_reader_t *r, uint32_t *unit)
{
    u_char      c;
    ngx_uint_t  i;

    if (r->last - r->pos < 4) {
        return NGX_ERROR;
    }

    *unit = 0;

    for (i = 0; i < 4; i++) {
        c = *r->pos++;

        if (c >= '0' && c <= '9') {
            c -= '0';

        } else {
            c |= 0x20;

            if (c < 'a' || c > 'f') {
                return NGX_ERROR;
            }

            c -= 'a' - 10;
        }

        *unit = *unit << 4 | c;
    }

    return NGX_OK;
}


static void
ngx_lockbox_json_put_utf8(ngx_lockbox_json_reader_t *r, uint32_t code)
{
    ngx_uint_t  shift;

    if (code < 0x80) {
        *r->free++ = (u_char) code;
        return;
    }

    if (code < 0x800) {
        shift = 6;
        *r->free++ = (u_char) (0xc0 | code >> shift);

    } else if (code < 0x10000) {
        shift = 12;
        *r->free++ = (u_char) (0xe0 | code >> shift);

    } else {
        shift = 18;
        *r->free++ = (u_char) (0xf0 | code >> shift);
    }

    while (shift) {
        shift -= 6;
        *r->free++ = (u_char) (0x80 | (code >> shift & 0x3f));
    }
}


static json_t *
ngx_lockbox_json_read_number(ngx_lockbox_json_reader_t *r)
{
    char          *text, *end;
    double         real;
    long long      integer;
    ngx_uint_t     whole;
    const u_char  *start;

    start = r->pos;
    whole = 1;

    (void) ngx_lockbox_json_skip(r, "-");

    if (!ngx_lockbox_json_skip(r, "0") && !ngx_lockbox_json_digits(r)) {
        return NULL;
    }

    if (ngx_lockbox_json_skip(r, ".")) {
        whole = 0;

        if (!ngx_lockbox_json_digits(r)) {
            return NULL;
        }
    }

    if (ngx_lockbox_json_skip(r, "eE")) {
        whole = 0;

        (void) ngx_lockbox_json_skip(r, "+-");
        (void) ngx_lockbox_json_digits(r);
    }

    text = (char *) r->free;
    *ngx_cpymem(text, start, r->pos - start) = '\0';

    if (whole) {
        ngx_set_errno(0);
        integer = strtoll(text, NULL, 10);

        return ngx_errno == ERANGE ? NULL : json_integer(integer);
    }

    /*
     * strtod() leaves an exponent without digits, and in some locales all
     * behind the dot; json_real() refuses infinity
     */

    real = strtod(text, &end);

    return *end == '\0' ? json_real(real) : NULL;
}


static json_t *
ngx_lockbox_json_read_word(ngx_lockbox_json_reader_t *r)
{
    const ngx_lockbox_json_word_t  *word;

    for (word = ngx_lockbox_json_words; word->text.len; word++) {

        if ((size_t) (r->last - r->pos) >= word->text.len
            && ngx_memcmp(r->pos, word->text.data, word->text.len) == 0)
        {
            r->pos += word->text.len;
            return word->value();
        }
    }

    return NULL;
}


/* Skips blanks, and "c" if it is next: 1 if it was. */

static ngx_uint_t
ngx_lockbox_json_take(ngx_lockbox_json_reader_t *r, u_char c)
{
    if (ngx_lockbox_json_peek(r) != c) {
        return 0;
    }

    r->pos++;

    return 1;
}


/* Skips blanks: the byte that is next, NUL at the end. */

static u_char
ngx_lockbox_json_peek(ngx_lockbox_json_reader_t *r)
{
    while (ngx_lockbox_json_skip(r, " \t\r\n")) {
        /* void */
    }

    return r->pos < r->last ? *r->pos : '\0';
}


/* Skips the next byte if it is one of the set: 1 if it was. */

static ngx_uint_t
ngx_lockbox_json_skip(ngx_lockbox_json_reader_t *r, const char *set)
{
    if (r->pos == r->last || !memchr(set, *r->pos, ngx_strlen(set))) {
        return 0;
    }

    r->pos++;

    return 1;
}


/* Skips digits: 1 if there were any. */

static ngx_uint_t
ngx_lockbox_json_digits(ngx_lockbox_json_reader_t *r)
{
    ngx_uint_t  found;

    found = 0;

    while (ngx_lockbox_json_skip(r, "0123456789")) {
        found = 1;
    }

    return found;
}


json_t *
ngx_lockbox_json_own(ngx_pool_t *pool, json_t *value)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        json_decref(value);
        return NULL;
    }

    cln->handler = ngx_lockbox_json_cleanup;
    cln->data = value;

    return value;
}


static void
ngx_lockbox_json_cleanup(void *data)
{
    json_decref(data);
}


ngx_int_t
ngx_lockbox_json_string(const json_t *object, const char *name,
    ngx_str_t *text)
{
    json_t  *member;

    member = json_object_get(object, name);

    if (member == NULL) {
        return NGX_DECLINED;
    }

    if (!json_is_string(member) || json_string_length(member) == 0) {
        return NGX_ERROR;
    }

    text->data = (u_char *) json_string_value(member);
    text->len = json_string_length(member);

    return NGX_OK;
}


ngx_int_t
ngx_lockbox_json_integer(const json_t *object, const char *name,
    int64_t *value)
{
    json_t  *member;

    member = json_object_get(object, name);

    if (member == NULL) {
        return NGX_DECLINED;
    }

    if (!json_is_integer(member)) {
        return NGX_ERROR;
    }

    *value = json_integer_value(member);

    return NGX_OK;
}


json_t *
ngx_lockbox_json_pointer(const json_t *root, const ngx_str_t *pointer)
{
    json_t        *value;
    const u_char  *p, *last, *end;

    p = pointer->data;
    last = p + pointer->len;

    if (p == last || *p != '/') {
        return ngx_lockbox_json_member(root, p, last, 0);
    }

    value = (json_t *) root;

    while (p < last && value) {
        p++;

        end = memchr(p, '/', last - p);
        if (end == NULL) {
            end = last;
        }

        value = ngx_lockbox_json_member(value, p, end, 1);
        p = end;
    }

    return value;
}


/*
 * Goes through the members, because jansson looks up NUL-terminated names only
 * (json_object_getn() came with 2.14).
 */

static json_t *
ngx_lockbox_json_member(const json_t *object, const u_char *p,
    const u_char *last, ngx_uint_t escaped)
{
    json_t      *value;
    const char  *name;

    json_object_foreach((json_t *) object, name, value) {
        if (ngx_lockbox_json_token_is(p, last, escaped, name)) {
            return value;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_lockbox_json_token_is(const u_char *p, const u_char *last,
    ngx_uint_t escaped, const char *name)
{
    u_char  c;

    for ( /* void */ ; p < last; p++, name++) {
        c = *p;

        if (escaped && c == '~') {
            p++;

            if (p == last || (*p != '0' && *p != '1')) {
                return 0;
            }

            c = (*p == '0') ? '~' : '/';
        }

        if (c == '\0' || c != (u_char) *name) {
            return 0;
        }
    }

    return *name == '\0';
}


ngx_int_t
ngx_lockbox_json_dump(ngx_pool_t *pool, const json_t *value, ngx_str_t *text)
{
    size_t  len, flags;

    flags = JSON_COMPACT|JSON_SORT_KEYS|JSON_ENCODE_ANY;

    len = json_dumpb(value, NULL, 0, flags);
    if (len == 0) {
        return NGX_ERROR;
    }

    text->data = ngx_pnalloc(pool, len);
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    text->len = len;

    if (json_dumpb(value, (char *) text->data, len, flags) != len) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


json_t *
ngx_lockbox_json_text(const ngx_str_t *text)
{
    /* an empty ngx_str_t may have no data at all, which jansson refuses */

    if (text->len == 0) {
        return json_string("");
    }

    return json_stringn((const char *) text->data, text->len);
}


ngx_int_t
ngx_lockbox_json_set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_lockbox_json_only(ngx_pool_t *pool, const json_t *object,
    const char *const *names, const char *at, ngx_lockbox_fault_t *fault)
{
    u_char      *token;
    json_t      *value;
    const char  *name;

    json_object_foreach((json_t *) object, name, value) {

        if (ngx_lockbox_json_listed(name, names)) {
            continue;
        }

        token = ngx_lockbox_json_token(pool, name);
        if (token == NULL) {
            return NGX_ERROR;
        }

        return ngx_lockbox_json_fault(pool, fault, "is not a known member",
                                      "%s/%s", at, (char *) token);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_lockbox_json_listed(const char *name, const char *const *names)
{
    for ( /* void */ ; *names; names++) {
        if (ngx_strcmp(name, *names) == 0) {
            return 1;
        }
    }

    return 0;
}


/* The name as a reference token of a pointer (RFC 6901 section 3). */

static u_char *
ngx_lockbox_json_token(ngx_pool_t *pool, const char *name)
{
    u_char  *token, *p;

    token = ngx_pnalloc(pool, 2 * ngx_strlen(name) + 1);
    if (token == NULL) {
        return NULL;
    }

    for (p = token; *name; name++) {

        switch (*name) {

        case '~':
            p = ngx_cpymem(p, "~0", 2);
            break;

        case '/':
            p = ngx_cpymem(p, "~1", 2);
            break;

        default:
            *p++ = (u_char) *name;
        }
    }

    *p = '\0';

    return token;
}


ngx_int_t
ngx_lockbox_json_fault(ngx_pool_t *pool, ngx_lockbox_fault_t *fault,
    const char *reason, const char *format, ...)
{
    int      len;
    u_char  *member;
    va_list  args;

    if (fault == NULL) {
        return NGX_DECLINED;
    }

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);

    if (len < 0) {
        return NGX_ERROR;
    }

    member = ngx_pnalloc(pool, len + 1);
    if (member == NULL) {
        return NGX_ERROR;
    }

    va_start(args, format);
    (void) vsnprintf((char *) member, len + 1, format, args);
    va_end(args);

    fault->member.data = member;
    fault->member.len = len;
    fault->reason = reason;

    return NGX_DECLINED;
}
