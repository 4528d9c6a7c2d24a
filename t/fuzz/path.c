/*
 * The path rule.  The first line of the input is the target of a request, or
 * a prefix, or an authority; what is behind it is a path, or a host.
 */

/* links: ngx_lockbox_path.c */

#include "ngx_lockbox_path.h"
#include "fuzz.h"


#define PATH_MAX_LEN  1024
#define NO_CODE       0xffffffff


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    return 0;
}


/*
 * The code point at "i", which is moved behind it, the long way round: only
 * what is written back as the same bytes is UTF-8.
 */

static uint32_t
code_at(const ngx_str_t *text, size_t *i)
{
    u_char     bytes[4];
    size_t     n, j;
    uint32_t   code;
    ngx_str_t  again, part;

    n = text->data[*i] < 0x80 ? 1 : text->data[*i] < 0xe0 ? 2
        : text->data[*i] < 0xf0 ? 3 : 4;

    if (n > text->len - *i) {
        return NO_CODE;
    }

    code = n == 1 ? text->data[*i] : text->data[*i] & (0x7f >> n);

    for (j = 1; j < n; j++) {
        code = code << 6 | (text->data[*i + j] & 0x3f);
    }

    again.data = bytes;
    again.len = n;

    if (code < 0x80) {
        again.len = 1;
        bytes[0] = (u_char) code;

    } else if (code < 0x800) {
        again.len = 2;
        bytes[0] = (u_char) (0xc0 | code >> 6);
        bytes[1] = (u_char) (0x80 | (code & 0x3f));

    } else if (code < 0x10000) {
        again.len = 3;
        bytes[0] = (u_char) (0xe0 | code >> 12);
        bytes[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        bytes[2] = (u_char) (0x80 | (code & 0x3f));

    } else {
        again.len = 4;
        bytes[0] = (u_char) (0xf0 | code >> 18);
        bytes[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
        bytes[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
        bytes[3] = (u_char) (0x80 | (code & 0x3f));
    }

    part.data = text->data + *i;
    part.len = n;
    *i += n;

    return fuzz_same(&again, &part) ? code : NO_CODE;
}


/* 1 if any rule says no, and 0 if it is sure that none does; else 2. */

static ngx_uint_t
code_refused(uint32_t code)
{
    if (code < 0x80) {
        return code < ' ' || code == 0x7f
               || strchr("\\%;#?", (int) code) != NULL;
    }

    if (code < 0xa0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 1;
    }

    /* ASCII in its full width, of which some is refused above */

    if (code >= 0xff01 && code <= 0xff5e) {
        return strchr("./\\%;#?", (int) (code - 0xff01 + '!')) != NULL;
    }

    /* Latin and Cyrillic, kana, Chinese, Korean, pictures */

    if ((code < 0x370) || (code >= 0x400 && code < 0x530)
        || (code >= 0x3041 && code < 0x3100)
        || (code >= 0x4e00 && code < 0x9fff)
        || (code >= 0xac00 && code < 0xd7a4)
        || (code >= 0x1f300 && code < 0x1f600))
    {
        return 0;
    }

    return code == 0x2024 || code == 0x2025 || code == 0x2026 || code == 0x37e
           ? 1 : 2;
}


/* Is it refused: 0, 1, or 2 for "cannot tell". */

static ngx_uint_t
path_refused(const ngx_str_t *path)
{
    size_t      i, n;
    u_char     *segment, *end, *last;
    ngx_uint_t  refused, unsure;

    if (path->len == 0 || path->len > PATH_MAX_LEN || path->data[0] != '/') {
        return 1;
    }

    unsure = 0;

    for (i = 0; i < path->len; /* void */) {
        refused = code_refused(code_at(path, &i));

        if (refused == 1) {
            return 1;
        }

        unsure |= refused;
    }

    last = path->data + path->len;

    for (segment = path->data + 1; segment <= last; segment = end + 1) {
        end = segment < last ? memchr(segment, '/', last - segment) : last;
        end = end ? end : last;
        n = end - segment;

        if ((n == 0 && end < last)
            || (n == 1 && segment[0] == '.')
            || (n == 2 && segment[0] == '.' && segment[1] == '.'))
        {
            return 1;
        }
    }

    return unsure;
}


static int
digit(u_char c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


static ngx_uint_t
is_plain(u_char c)
{
    return isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
}


/*
 * What the target says up to its query, and in "good" whether each byte is
 * written in the one way it may be.
 */

static ngx_str_t
decoded(ngx_pool_t *pool, const ngx_str_t *target, ngx_uint_t *good)
{
    int        value;
    u_char     c;
    size_t     i;
    ngx_str_t  out;

    out.data = ngx_pnalloc(pool, target->len + 1);
    out.len = 0;

    *good = 1;

    for (i = 0; i < target->len && target->data[i] != '?'; i++) {
        c = target->data[i];

        if (c >= 0x7f) {
            *good = 0;
        }

        if (c == '%') {
            value = i + 2 < target->len
                    && digit(target->data[i + 1]) >= 0
                    && digit(target->data[i + 2]) >= 0
                    ? digit(target->data[i + 1]) * 16
                      + digit(target->data[i + 2]) : -1;

            if (value <= 0 || value == '/' || is_plain((u_char) value)) {
                *good = 0;
                return out;
            }

            c = (u_char) value;
            i += 2;
        }

        out.data[out.len++] = c;
    }

    return out;
}


/* The target that everybody would write for a path. */

static ngx_str_t
spelling(ngx_pool_t *pool, const ngx_str_t *path)
{
    u_char             *p;
    size_t              i;
    ngx_str_t           out;
    static const char   hex[] = "0123456789ABCDEF";

    out.data = ngx_pnalloc(pool, path->len * 3 + 2);
    p = out.data;

    for (i = 0; i < path->len; i++) {
        if (is_plain(path->data[i]) || path->data[i] == '/') {
            *p++ = path->data[i];
            continue;
        }

        *p++ = '%';
        *p++ = (u_char) hex[path->data[i] >> 4];
        *p++ = (u_char) hex[path->data[i] & 0xf];
    }

    *p++ = '?';
    out.len = p - out.data;

    return out;
}


/* Segment by segment: 1 if the prefix is where the path begins. */

static ngx_uint_t
begins(const ngx_str_t *prefix, const ngx_str_t *path)
{
    size_t      n;
    ngx_uint_t  open;

    open = prefix->data[prefix->len - 1] == '/';
    n = prefix->len - open;

    /* "/a/" covers itself and what is below, but not "/a" */

    return path->len >= prefix->len
           && (n == 0 || memcmp(path->data, prefix->data, n) == 0)
           && (path->len == n || path->data[n] == '/');
}


static void
check_canonical(ngx_pool_t *pool, const ngx_str_t *path)
{
    ngx_str_t   target, root;
    ngx_uint_t  canonical, refused;

    canonical = ngx_lockbox_path_canonical(path);
    refused = path_refused(path);

    fuzz_check(canonical == 0 || canonical == 1);
    fuzz_check(refused == 2 || canonical == !refused);

    if (!canonical) {
        return;
    }

    root = ngx_shim_str("/");
    target = spelling(pool, path);

    fuzz_check(ngx_lockbox_path_covers(path, path));
    fuzz_check(ngx_lockbox_path_covers(&root, path));
    fuzz_check(ngx_lockbox_path_spelt(&target, path));

    target.len--;
    fuzz_check(ngx_lockbox_path_spelt(&target, path));

    /* one byte less spells something else */

    target.len--;
    fuzz_check(!ngx_lockbox_path_spelt(&target, path));
}


static void
check_spelt(ngx_pool_t *pool, const ngx_str_t *target, const ngx_str_t *path)
{
    ngx_str_t   meant;
    ngx_uint_t  good;

    meant = decoded(pool, target, &good);

    fuzz_check(!ngx_lockbox_path_spelt(target, path)
               || !ngx_lockbox_path_canonical(path)
               || (good && fuzz_same(&meant, path)));

    if (ngx_lockbox_path_canonical(&meant)) {
        fuzz_check(ngx_lockbox_path_spelt(target, &meant) == good);
    }
}


static void
check_covers(const ngx_str_t *prefix, const ngx_str_t *path)
{
    if (ngx_lockbox_path_canonical(prefix) && ngx_lockbox_path_canonical(path))
    {
        fuzz_check(ngx_lockbox_path_covers(prefix, path)
                   == begins(prefix, path));
    }
}


static ngx_uint_t
same_letters(const ngx_str_t *a, const ngx_str_t *b, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (tolower(a->data[i]) != tolower(b->data[i])) {
            return 0;
        }
    }

    return 1;
}


static void
check_authority(const ngx_str_t *target, const ngx_str_t *host)
{
    size_t  n;

    for (n = 0; n < target->len; n++) {
        if (memchr("/?# ", target->data[n], 4)) {
            break;
        }
    }

    fuzz_check(ngx_lockbox_path_authority(target, host)
               == (n && n == host->len && same_letters(target, host, n)));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_str_t    input, first, path;
    ngx_pool_t  *pool;

    pool = fuzz_pool();
    input = fuzz_copy(pool, data, size);

    first = fuzz_line(&input);
    first = fuzz_copy(pool, first.data, first.len);
    path = fuzz_copy(pool, input.data, input.len);

    check_canonical(pool, &first);
    check_canonical(pool, &path);

    check_spelt(pool, &first, &path);
    check_spelt(pool, &path, &first);

    check_authority(&first, &path);

    check_covers(&first, &path);
    check_covers(&path, &first);

    fuzz_pool_end(pool);

    return 0;
}
