/*
 * A socket that takes a command in pieces, for the tests.  Preloaded into
 * nginx, it looks for a text in what is written to Unix sockets; from the
 * write on that has it, that connection takes as many bytes as it is allowed
 * to, and then none until it is allowed more.
 *
 * The file of LOCKBOX_PIECES is how a test says what it wants and learns what
 * has become of it; Test::Lockbox::Pieces is the other side.
 */

#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>


/* Milliseconds between looks at what is allowed. */
#define LOOK   10

#define TEXT   256
#define SIZES  16
#define FDS    4096

/* What is done about the text. */
#define IDLE   0
#define ARMED  1
#define FOUND  2
#define GONE   3  /* ... and the connection is closed */


struct control {
    int64_t  state;
    int64_t  turn;          /* another one each time */
    int64_t  allowed;       /* bytes from that write on; -1: any number */
    int64_t  written;
    int64_t  refused;       /* writes, or parts of them, that were not taken */
    int64_t  pieces;        /* of that write */
    int64_t  size[SIZES];
    int64_t  length;
    char     text[TEXT];
};

struct interest {
    int                 epoll;
    struct epoll_event  event;
};


static struct control   *control;
static struct interest   interests[FDS];

/* the connection, of which turn, and whether nginx waits for it to take more */
static int               watched = -1;
static int64_t           turn;
static int               full;

static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_epoll_ctl)(int, int, int, struct epoll_event *);
static int (*real_epoll_wait)(int, struct epoll_event *, int, int);
static int (*real_close)(int);


/* Its loader shall not mind what was loaded before it. */
const char *__asan_default_options(void);

const char *
__asan_default_options(void)
{
    return "verify_asan_link_order=0";
}


/* Others are called before their constructors, too. */
static void
find(void)
{
    if (real_close == NULL) {
        *(void **) &real_writev = dlsym(RTLD_NEXT, "writev");
        *(void **) &real_epoll_ctl = dlsym(RTLD_NEXT, "epoll_ctl");
        *(void **) &real_epoll_wait = dlsym(RTLD_NEXT, "epoll_wait");
        *(void **) &real_close = dlsym(RTLD_NEXT, "close");
    }
}


__attribute__((constructor)) static void
start(void)
{
    int          fd;
    void        *p;
    const char  *file;

    find();

    file = getenv("LOCKBOX_PIECES");
    fd = file ? open(file, O_RDWR) : -1;

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(struct control), PROT_READ|PROT_WRITE, MAP_SHARED,
             fd, 0);
    control = p == MAP_FAILED ? NULL : p;

    (void) real_close(fd);
}


static int64_t
get(const int64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}


static void
set(int64_t *p, int64_t value)
{
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}


static int
is_watched(int fd)
{
    return fd >= 0 && fd == watched && turn == get(&control->turn);
}


static int
is_unix(int fd)
{
    socklen_t                len;
    struct sockaddr_storage  address;

    len = sizeof(address);

    return getpeername(fd, (struct sockaddr *) &address, &len) == 0
           && address.ss_family == AF_UNIX;
}


static int
has_text(const struct iovec *iov, int n)
{
    int  i;

    for (i = 0; i < n; i++) {
        if (memmem(iov[i].iov_base, iov[i].iov_len, control->text,
                   (size_t) control->length))
        {
            return 1;
        }
    }

    return 0;
}


static void
watch(int fd, const struct iovec *iov, int n)
{
    int  i;

    for (i = 0; i < n && i < SIZES; i++) {
        set(&control->size[i], (int64_t) iov[i].iov_len);
    }

    watched = fd;
    turn = get(&control->turn);
    full = 0;

    set(&control->pieces, n);
    set(&control->state, FOUND);
}


/* The bytes that may be written of so many. */
static size_t
room(size_t size)
{
    int64_t  allowed, left;

    allowed = get(&control->allowed);
    left = allowed - get(&control->written);

    return allowed < 0 || (int64_t) size <= left ? size
           : left > 0 ? (size_t) left : 0;
}


static ssize_t
write_some(int fd, const struct iovec *iov, int n)
{
    int           i;
    size_t        size, left;
    ssize_t       written;
    struct iovec  some[1024];

    size = 0;

    for (i = 0; i < n; i++) {
        size += iov[i].iov_len;
    }

    left = room(size);
    full = left < size;

    if (full) {
        set(&control->refused, get(&control->refused) + 1);
    }

    if (size && left == 0) {
        errno = EAGAIN;
        return -1;
    }

    for (i = 0; i < n && i < 1024 && left; i++) {
        some[i] = iov[i];

        if (some[i].iov_len > left) {
            some[i].iov_len = left;
        }

        left -= some[i].iov_len;
    }

    written = real_writev(fd, some, i);

    if (written > 0) {
        set(&control->written, get(&control->written) + written);
    }

    return written;
}


ssize_t
writev(int fd, const struct iovec *iov, int n)
{
    find();

    if (control && get(&control->state) == ARMED && fd < FDS && is_unix(fd)
        && has_text(iov, n))
    {
        watch(fd, iov, n);
    }

    return is_watched(fd) ? write_some(fd, iov, n) : real_writev(fd, iov, n);
}


int
close(int fd)
{
    find();

    if (is_watched(fd)) {
        set(&control->state, GONE);
        watched = -1;
        full = 0;
    }

    return real_close(fd);
}


int
epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
    find();

    if (fd >= 0 && fd < FDS && event) {
        interests[fd].epoll = epoll;
        interests[fd].event = *event;
    }

    return real_epoll_ctl(epoll, what, fd, event);
}


static int64_t
now(void)
{
    struct timespec  t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);

    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}


/*
 * nginx waits for an edge, which there is none of: the socket has taken all
 * along what it was given.  To ask for events anew makes one.
 */
static void
wake(void)
{
    struct interest  *interest;

    if (!is_watched(watched) || room(1) == 1) {
        full = 0;
        interest = &interests[watched];

        (void) real_epoll_ctl(interest->epoll, EPOLL_CTL_MOD, watched,
                              &interest->event);
    }
}


int
epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    int      n, look;
    int64_t  end, left;

    find();

    end = now() + timeout;

    do {
        if (full) {
            wake();
        }

        left = end > now() ? end - now() : 0;
        look = full && (timeout < 0 || left > LOOK);

        n = real_epoll_wait(epoll, events, most,
                            look ? LOOK : timeout < 0 ? -1 : (int) left);

    } while (n == 0 && look);

    return n;
}
