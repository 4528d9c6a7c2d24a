#!/usr/bin/env perl

# Why: garbage costs whoever sends it next to nothing.  It must not cost others
# what is known of their grants, nor memory, nor questions to Redis.  How long
# others wait meanwhile is measured by "make bench".

use strict;
use warnings;

use Lockbox::Jose qw(b64url_encode);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Http;
use Test::Lockbox::Vitals qw(descriptors memory);

# How many at once on a connection, and how often.
my $BATCH = 100;
my $WARM = 20;
my $FLOOD = 100;

# kB; the garbage is some 8 MB
my $MOST = 1024;

my $t = Test::Lockbox->new;

# so small that the garbage would fill it several times; and a lease that does
# not run out on a busy machine
begin($t, directives => { lockbox_zone => '64k', lockbox_lease => '60s' });

my $grant = collect(approved());
my ($worker) = $t->workers;
my $n = 0;

is(outcome(knock($grant)), '200 ok', 'a good grant');
flood($_) for 1 .. $WARM;

my $memory = memory($worker);
my $descriptors = descriptors($worker);
my $known = questions();
my $passed = () = $t->upstream_requests;
my (%refused, %good);

for my $round (1 .. $FLOOD) {
    my @outcomes = flood($round);

    $refused{$_}++ for @outcomes;
    $good{ outcome(knock($grant)) }++;
}

is_deeply(\%good, { '200 ok' => $FLOOD }, 'good requests in a flood (W24)');
is_deeply(\%refused, { map { $_ => $FLOOD * $BATCH / 4 }
                       '401 malformed_token', '401 unknown_key',
                       '401 bad_signature', '401 wrong_type' },
          '... of four kinds of garbage, each refused for what it is (W24)');
is(scalar(() = $t->upstream_requests) - $passed, $FLOOD,
   '... which is not passed on');
is(questions(), $known, '... makes nobody ask Redis');
cmp_ok(memory($worker) - $memory, '<', $MOST, '... takes no memory (W24)');
cmp_ok(descriptors($worker), '<=', $descriptors + 1, '... nor descriptors');
is(join(' ', $t->workers), $worker, '... and ends no worker');

done_testing();


# Each token is another one.
sub garbage {
    my @parts = split /\./, $grant;
    my $salt = sprintf '%010d', $n++;

    return (
        "garbage$salt" . 'x' x 700,
        join('.', b64url_encode(qq({"alg":"ES256","kid":"$salt",)
                                . '"typ":"lockbox-grant+jwt"}'),
             @parts[1, 2]),
        join('.', @parts[0, 1], b64url_encode($salt x 6 . 'beef')),
        join('.', b64url_encode(qq({"alg":"ES256","typ":"JWT","x":"$salt"})),
             @parts[1, 2]),
    );
}

# Sends one batch on one connection, and reads what comes.
sub flood {
    my $connection = $t->http_connect;

    $connection->send(join '', map {
        Test::Lockbox::Http::request_bytes('GET', $MAIL, token => $_,
                                           keepalive => 1)
    } map { garbage() } 1 .. $BATCH / 4);

    return map { outcome($connection->response) } 1 .. $BATCH;
}

# How often Redis was asked whether a grant is live.
sub questions {
    return redis('INFO', 'commandstats') =~ /cmdstat_getex:calls=(\d+)/
        ? $1 : 0;
}
