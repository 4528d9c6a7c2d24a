/*
 * A mutator for inputs that are lines of text, of which some are JSON: it
 * moves whole lines and whole values.  Half of the time libFuzzer's own one
 * does its work on bytes.
 *
 * A target that includes it has two lists, which end with NULL: "mutate_lines"
 * for whole lines, and "mutate_names" for members of objects.
 */

#ifndef _MUTATE_H_INCLUDED_
#define _MUTATE_H_INCLUDED_


#include "fuzz.h"


#define MUTATE_STARTS  256
#define MUTATE_PART    4096


/* libFuzzer's own */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
    unsigned int seed);


/* The input, and a piece to put somewhere. */

typedef struct {
    uint8_t       *data;
    size_t         size;
    size_t         max;
    unsigned int   random;

    uint8_t        part[MUTATE_PART];
    size_t         len;
} mutate_t;


static const char *const  mutate_values[] = {
    "null", "true", "false", "0", "-1", "1", "1.5", "1e3", "\"\"", "\"a\"",
    "[]", "{}", "[[]]", "[\"a\",1]", "\"\\u0000\"", "\"\\u20ac\"",
    "9223372036854775807", "-9223372036854775808", "9223372036854775808",
    "9007199254740992", "9007199254740993", "1700000000", "1700000001",
    "1699999999", "1700000030", "1700000031", "\"/\"", "\"..\"", "3600", NULL
};


static unsigned int
mutate_random(mutate_t *m, size_t n)
{
    m->random = m->random * 1103515245u + 12345u;

    return (m->random >> 16 & 0x7fff) % (n ? n : 1);
}


static const char *
mutate_word(mutate_t *m, const char *const *words)
{
    size_t  n;

    for (n = 0; words[n]; n++) {
        /* void */
    }

    return n ? words[mutate_random(m, n)] : "";
}


/* Takes the piece: those of the bytes that there is room for. */

static void
mutate_take(mutate_t *m, const void *data, size_t len)
{
    len = ngx_min(len, MUTATE_PART - m->len);

    memcpy(m->part + m->len, data, len);
    m->len += len;
}


/* Puts the piece in the place of data[start..end): the new size, or 0. */

static size_t
mutate_put(mutate_t *m, size_t start, size_t end)
{
    size_t  size;

    size = m->size - (end - start) + m->len;

    if (size > m->max) {
        return 0;
    }

    memmove(m->data + start + m->len, m->data + end, m->size - end);
    memcpy(m->data + start, m->part, m->len);

    return size;
}


static size_t
mutate_text_end(const mutate_t *m, size_t i)
{
    for (i++; i < m->size && m->data[i] != '"' && m->data[i] != LF; i++) {
        if (m->data[i] == '\\' && i + 1 < m->size) {
            i++;
        }
    }

    return ngx_min(i + 1, m->size);
}


/* Where the value that begins at "i" ends. */

static size_t
mutate_value_end(const mutate_t *m, size_t i)
{
    size_t  depth;

    if (m->data[i] == '"') {
        return mutate_text_end(m, i);
    }

    if (m->data[i] != '{' && m->data[i] != '[') {

        while (i < m->size && !memchr(",:]}\n \"", m->data[i], 7)) {
            i++;
        }

        return i;
    }

    depth = 0;

    while (i < m->size && m->data[i] != LF) {

        switch (m->data[i]) {

        case '"':
            i = mutate_text_end(m, i);
            continue;

        case '{':
        case '[':
            depth++;
            break;

        case '}':
        case ']':
            if (--depth == 0) {
                return i + 1;
            }
        }

        i++;
    }

    return i;
}


static size_t
mutate_value_starts(const mutate_t *m, size_t *starts)
{
    size_t  i, n, end;

    n = 0;
    i = 0;

    while (i < m->size && n < MUTATE_STARTS) {

        if (memchr(",:]} \n", m->data[i], 6)) {
            i++;
            continue;
        }

        starts[n++] = i;

        end = mutate_value_end(m, i);
        i = (m->data[i] == '{' || m->data[i] == '[' || end == i) ? i + 1 : end;
    }

    return n;
}


/* The end of the value, or now and then of a name with its value. */

static size_t
mutate_span(mutate_t *m, size_t start)
{
    size_t  end;

    end = mutate_value_end(m, start);

    if (end + 1 < m->size && m->data[end] == ':' && mutate_random(m, 2)) {
        end = mutate_value_end(m, end + 1);
    }

    return end;
}


static size_t
mutate_member(mutate_t *m, size_t start)
{
    const char  *word;

    if (m->data[start] != '{') {
        return 0;
    }

    word = mutate_word(m, mutate_names);
    mutate_take(m, "\"", 1);
    mutate_take(m, word, strlen(word));
    mutate_take(m, "\":", 2);

    word = mutate_word(m, mutate_values);
    mutate_take(m, word, strlen(word));
    mutate_take(m, ",", 1);

    return mutate_put(m, start + 1, start + 1);
}


static size_t
mutate_value(mutate_t *m)
{
    size_t       n, a, b, c, d, starts[MUTATE_STARTS];
    const char  *word;

    n = mutate_value_starts(m, starts);
    if (n == 0) {
        return 0;
    }

    a = starts[mutate_random(m, n)];
    b = mutate_span(m, a);
    c = starts[mutate_random(m, n)];
    d = mutate_span(m, c);

    switch (mutate_random(m, 6)) {

    case 0:     /* one away, with the comma behind it */
        b += b < m->size && m->data[b] == ',';
        return mutate_put(m, a, b);

    case 1:     /* a copy in the place of another */
        mutate_take(m, m->data + c, d - c);
        return mutate_put(m, a, b);

    case 2:     /* a copy before another */
        mutate_take(m, m->data + c, d - c);
        mutate_take(m, ",", 1);
        return mutate_put(m, a, a);

    case 3:     /* a neighbour of a number */
        if (b > a && m->data[b - 1] > '0' && m->data[b - 1] < '9') {
            m->data[b - 1] += mutate_random(m, 2) ? 1 : -1;
            return m->size;
        }

        return 0;

    case 4:     /* one more member */
        return mutate_member(m, a);

    default:
        word = mutate_word(m, mutate_values);
        mutate_take(m, word, strlen(word));
        return mutate_put(m, a, b);
    }
}


/* The beginning of any line. */

static size_t
mutate_line_start(mutate_t *m)
{
    size_t  i, n;

    n = 1;

    for (i = 0; i < m->size; i++) {
        n += m->data[i] == LF;
    }

    n = mutate_random(m, n);

    for (i = 0; n && i < m->size; i++) {
        n -= m->data[i] == LF;
    }

    return i;
}


static size_t
mutate_line_end(const mutate_t *m, size_t i)
{
    while (i < m->size && m->data[i] != LF) {
        i++;
    }

    return ngx_min(i + 1, m->size);
}


static size_t
mutate_line(mutate_t *m)
{
    size_t       a, b, c, d;
    const char  *word;

    a = mutate_line_start(m);
    b = mutate_line_end(m, a);

    switch (mutate_random(m, 4)) {

    case 0:     /* one away */
        return mutate_put(m, a, b);

    case 1:     /* a copy before, or in the place of, another */
        c = mutate_line_start(m);
        d = mutate_line_end(m, c);

        mutate_take(m, m->data + c, d - c);

        if (m->len && m->part[m->len - 1] != LF) {
            mutate_take(m, "\n", 1);
        }

        return mutate_put(m, a, mutate_random(m, 2) ? a : b);

    default:    /* a known one before it, or in its place */
        word = mutate_word(m, mutate_lines);

        mutate_take(m, word, strlen(word));
        mutate_take(m, "\n", 1);

        return mutate_put(m, a, mutate_random(m, 3) ? b : a);
    }
}


size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max,
    unsigned int seed)
{
    size_t    len;
    mutate_t  m;

    m.data = data;
    m.size = size;
    m.max = max;
    m.random = seed;
    m.len = 0;

    len = 0;

    switch (mutate_random(&m, 6)) {

    case 0:
        len = mutate_lines[0] ? mutate_line(&m) : 0;
        break;

    case 1:
    case 2:
        len = mutate_names[0] ? mutate_value(&m) : mutate_line(&m);
    }

    return len ? len : LLVMFuzzerMutate(data, size, max);
}


#endif /* _MUTATE_H_INCLUDED_ */
