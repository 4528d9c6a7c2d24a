#!/usr/bin/env perl

# Why: clocks are set, by people and by protocols.  A grant that is in use, and
# whose end nginx has seen, stays ended, whatever its clock says later, and one
# whose end Redis has seen is none for an nginx whose clock is behind.

use strict;
use warnings;

use Lockbox::Jose qw(decode);
use Test::Lockbox;
use Test::Lockbox::Admin;

# Seconds of a window, and by how much the clock goes wrong: longer than that.
my $WINDOW = 600;
my $WRONG = 3000;

# nginx takes the time of day from here: the true one, and what the file says.
my $CLOCK = <<'EOF_CLOCK';
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t  *wrong;

__attribute__((constructor))
static void
find(void)
{
    int          fd;
    void        *p;
    const char  *file;

    file = getenv("LOCKBOX_CLOCK");
    fd = file ? open(file, O_RDONLY) : -1;
    p = fd < 0 ? MAP_FAILED : mmap(NULL, 8, PROT_READ, MAP_SHARED, fd, 0);
    wrong = p == MAP_FAILED ? NULL : p;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec  now;

    (void) zone;
    (void) clock_gettime(CLOCK_REALTIME, &now);
    tv->tv_sec = now.tv_sec + (wrong ? *wrong : 0);
    tv->tv_usec = now.tv_nsec / 1000;

    return 0;
}

time_t
time(time_t *t)
{
    struct timeval  now;

    (void) gettimeofday(&now, NULL);

    if (t) {
        *t = now.tv_sec;
    }

    return now.tv_sec;
}
EOF_CLOCK

plan(skip_all => 'AddressSanitizer wants to be loaded before all else')
    if Test::Lockbox::nginx_binary() =~ m{/asan\z};

my $t = Test::Lockbox->new;
my $file = $t->testdir . '/clock';

$t->write_file('clock.c', $CLOCK);
$t->write_file('clock', pack 'q', 0);

system(qw(cc -O1 -shared -fPIC -o), "$file.so", "$file.c") == 0
    or die "no clock\n";

begin($t);
$t->stop;

{
    local $ENV{LD_PRELOAD} = "$file.so";
    local $ENV{LOCKBOX_CLOCK} = $file;
    $t->run;
}

set_forward_and_back();
set_back();

done_testing();


# Whatever nginx writes of the time, it has noticed.
sub set_clock {
    my ($seconds) = @_;

    open my $clock, '+<:raw', $file or die "$file: $!\n";
    syswrite $clock, pack 'q', $seconds;
    close $clock;

    $t->wait_for(sub {
        my $date = $t->http('GET', '/lockbox/v1/jwks.json')->header('date');
        my ($h, $m, $s) = $date =~ /(\d\d):(\d\d):(\d\d) GMT/;
        my $off = $h * 3600 + $m * 60 + $s - (time + $seconds) % 86_400;

        return abs($off) < 60 || abs($off) > 86_340;
    }, undef, 'the other time');
}

sub windows {
    return map { collect(approved(duration => $WINDOW)) } 1 .. $_[0];
}

# The other one nobody shows while the clock is wrong.
sub set_forward_and_back {
    my ($grant, $other) = windows(2);

    is(outcome(knock($_)), '200 ok', 'good by all clocks') for $grant, $other;

    set_clock($WRONG);
    is(outcome(knock($grant)), '401 expired', 'over by the clock here');

    my @before = $t->upstream_requests;

    set_clock(0);
    is(outcome(knock($grant)), '401 expired',
       'the clock is set back: over is over (W22)');
    is(outcome(knock($grant)), '401 expired', '... however often (W22)');
    is(scalar(my @after = $t->upstream_requests), scalar @before,
       '... and nothing is passed on');
    is(outcome(knock($other)), '200 ok',
       '... and what nobody has seen the end of goes on');
}

# The window has not even begun by this clock; without its end in Redis it
# would be as good again when the clock is right.
sub set_back {
    my ($grant, $other) = windows(2);
    my $id = decode($grant)->{payload}{jti};

    is(outcome(knock($_)), '200 ok', 'good by all clocks') for $grant, $other;

    set_clock(-$WRONG);
    is(outcome(knock($grant)), '401 not_yet_valid', 'too early by the clock');

    make_due($id);
    $t->wait_for(sub { stored($id)->{state} eq 'expired' }, undef,
                 'the sweep');

    set_clock(0);
    eventually($grant, '401 expired');
    redis('SET', live_key($id), 'live', 'PX', 60_000);
    is(outcome(knock($grant)), '401 expired',
       'what Redis has seen the end of is over (W22)');
    is(outcome(knock($other)), '200 ok', '... and not the other');
}
