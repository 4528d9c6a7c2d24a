#!/usr/bin/env perl

# Why: a stream that stays open is a connection that nobody looks after.  It
# must hear of everything that is its own and of nothing else, and it must end
# when its time is over: with the token, with the worker, with the client.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Events;

my $t = Test::Lockbox->new;

begin($t, directives => { lockbox_streams => '200 person=200' });

my $old = file();

first_words();
own_events();
coming_back();
gaps();
bad_places();
held_requests();
slow_reader();
client_leaves();
token_ends();
deaf();
reload();
many();
bounds();

done_testing();


sub connections {
    my ($name) = @_;

    return scalar grep { /name=lockbox-$name/ }
                  split /\n/, redis('CLIENT', 'LIST');
}

sub first_words {
    my $before = redis('CLIENT', 'LIST') =~ tr/\n//;
    my $stream = listen_as('manager');
    my $head = $stream->head;

    is($head->status, 200, 'a stream');
    is($head->header('content-type'), 'text/event-stream', '... says so');
    is($head->header('cache-control'), 'no-store', '... is not kept');
    is($head->header('x-accel-buffering'), 'no', '... is not held back');

    my $block = $stream->block;
    like($block->{retry}, qr/^[12]\d{3}$/, 'when to come back');
    is($block->{id}, page('manager', limit => 100)->{next}, 'and from where');
    ok(!exists $block->{data}, 'nothing has happened yet');

    my $id = file();
    my $event = $stream->event;

    is($event->{event}, 'lockbox.request.filed', 'what happens is told');
    is($event->{id}, $event->{json}{id}, '... with its cursor');
    is_deeply($event->{json}, page('manager', limit => 100)->{events}[-1],
              '... as it reads on a page');
    is($event->{json}{subject}, $id, '... with the request');

    approve('manager', $id);
    is_deeply(heard($stream, 1), [ 'approved acme' ], '... and the next one');

    my @clients = redis('CLIENT', 'LIST') =~ /cmd=subscribe .*sub=1 /g;
    $stream->close;
    is_deeply([ records() ]->[-1]{'event.action'}, 'approve',
              'a stream is not on record');
}

# Each hears of his own, whoever listens beside him (W12).
sub own_events {
    my %stream = map { $_ => listen_as($_) }
                     qw(manager customer other-customer engineer
                        other-engineer auditor roleless);

    $_->block for values %stream;

    my $id = file(who => 'other-engineer');
    file(tenant => 'globex');
    approve('manager', $id);

    my %hears = (
        manager => [ 'filed acme', 'filed globex', 'approved acme' ],
        auditor => [ 'filed acme', 'filed globex', 'approved acme' ],
        customer => [ 'filed acme', 'approved acme' ],
        'other-customer' => [ 'filed globex' ],
        engineer => [ 'filed globex' ],
        'other-engineer' => [ 'filed acme', 'approved acme' ],
    );

    for my $who (sort keys %hears) {
        is_deeply(heard($stream{$who}, scalar @{ $hears{$who} }),
                  $hears{$who}, "what $who hears (W12)");
    }

    # one more for each, so that nothing else can have come in between
    my $mark = file();
    is_deeply(heard($stream{$_}, 1), [ 'filed acme' ], "$_ heard no more")
        for qw(manager auditor customer engineer);

    $_->close for values %stream;
}

sub coming_back {
    my $last = page('customer', limit => 100)->{next};

    my $id = file();
    approve('manager', $id);
    took('customer', 'deny', $id, version => 2);

    my $missed = [ 'filed acme', 'approved acme', 'denied acme' ];

    my $stream = listen_as('customer', headers => { 'Last-Event-ID' => $last });
    is_deeply(heard($stream, 3), $missed, 'what was missed, by Last-Event-ID');
    $stream->close;

    $stream = listen_as('customer', query => "cursor=$last");
    is_deeply(heard($stream, 3), $missed, '... and by cursor');
    $stream->close;

    $stream = listen_as('customer', query => 'cursor=0-0',
                        headers => { 'Last-Event-ID' => $last });
    is_deeply(heard($stream, 3), $missed, 'the later place counts');
    $stream->close;

    $stream = listen_as('customer', query => "cursor=$last",
                        headers => { 'Last-Event-ID' => '' });
    is_deeply(heard($stream, 3), $missed, 'an empty one is none');
    $stream->close;

    # more than one page of the past
    my $all = happened('manager');
    file() for 1 .. 60;
    $stream = listen_as('manager', query => 'cursor=0-0');
    is_deeply(heard($stream, @$all + 60),
              [ @$all, ('filed acme') x 60 ], 'all of the past, in order');
    $stream->close;
}

# What is gone is said to be gone, and where it goes on.
sub gaps {
    my $first = page('customer', limit => 100)->{events}[0]{id};
    my $said = sub {
        my ($block) = @_;

        return join ' ', map { $block->{$_} // '-' } qw(event data id);
    };
    my $gap = 'gap {"gap":true}';

    redis('XTRIM', 'lockbox:{acme}:events', 'MAXLEN', 2);
    my @left = @{ happened('customer') };
    my $stream = listen_as('customer',
                           headers => { 'Last-Event-ID' => $first });
    my $block = $stream->block;
    like($block->{retry}, qr/^\d+$/, 'the first block');
    is($said->($block), "$gap -", '... tells what is missing');
    file();
    is_deeply(heard($stream, 3), [ @left, 'filed acme' ], '... and once');
    $stream->close;

    redis('XTRIM', 'lockbox:{acme}:events', 'MAXLEN', 0);
    $stream = listen_as('customer', query => "cursor=$first");
    $block = $stream->block;
    like($said->($block), qr/^\Q$gap\E \d+-\d+$/,
         'where nothing is left, from where it goes on');
    $stream->close;

    $stream = listen_as('customer',
                        headers => { 'Last-Event-ID' => $block->{id} });
    is($said->($stream->block), "- - $block->{id}", '... which is told once');
    $stream->close;

    # while it is open
    $stream = listen_as('manager');
    $stream->block;

    for my $left (1, 0) {
        my $last = redis('EVAL', <<'EOF_LUA', 0, $left);
local last
for i = 1, 3 do
    last = redis.call('XADD', 'lockbox:events', '*', 'event', 'filed',
                      'tenant', 'acme', 'at', '1', 'iss', 'i', 'sub', 's')
end
redis.call('XTRIM', 'lockbox:events', 'MAXLEN', ARGV[1])
redis.call('PUBLISH', 'lockbox:wake', '')
return last
EOF_LUA

        is($said->($stream->block), $left ? "$gap -" : "$gap $last",
           "a gap in an open stream, with $left behind it");
        is($stream->event->{id}, $last, '... which comes next') if $left;
    }

    $stream->close;
    redis('DEL', 'lockbox:events', 'lockbox:{acme}:events');
}

sub bad_places {
    for my $place ('x', '1', '-1-0', '99999999999999-0', '9' x 64, '9' x 65,
                   "1-0\xff", '1-0 1-0')
    {
        my $head = listen_as('manager',
                             headers => { 'Last-Event-ID' => $place })->head;

        is(outcome($head), '400 invalid_member', "Last-Event-ID $place");
        is($head->json->{member}, 'Last-Event-ID', '... is named');
    }

    is(outcome(listen_as('manager', headers => [
                   [ Accept => 'text/event-stream' ],
                   [ 'Last-Event-ID' => '1-0' ],
                   [ 'Last-Event-ID' => '1-0' ] ])->head),
       '400 invalid_member', 'two places');
    is(outcome(listen_as('manager', query => 'cursor=x')->head),
       '400 invalid_member', 'a bad cursor');
    is(outcome(listen_as('manager', query => $_)->head),
       '400 invalid_member', $_) for 'x=1', 'limit=1';
    is(outcome(listen_as('nobody')->head), '401 no_token', 'no token');

    my $head = ask('manager', 'HEAD', $EVENTS,
                   headers => { Accept => 'text/event-stream' });
    is($head->status, 200, 'HEAD');
    is($head->header('content-type'), 'text/event-stream', '... as for GET');

    is(ask('manager', 'GET', $EVENTS, headers => { Accept => $_ })
           ->header('content-type'), 'application/json', "Accept: $_")
        for '*/*', 'application/json', 'text/event-streams',
            'text/event-stream;q=0, */*',
            'text/event-stream, application/json';
    is(ask('manager', 'HEAD', $EVENTS, headers => $_->[1])
           ->header('content-type'), 'text/event-stream', $_->[0])
        for [ 'a stream behind anything',
              { Accept => '*/*, text/event-stream' } ],
            [ 'a stream rather than a page',
              { Accept => 'application/json;q=0.9, text/event-stream' } ],
            [ 'a stream in another field',
              [ [ Accept => '*/*' ], [ Accept => 'Text/Event-Stream' ] ] ];
}

# Nothing that waits for the worker waits for a stream.
sub held_requests {
    my $stream = listen_as('manager');
    my $connection = $t->http_start('GET', '/lockbox/v1/whoami',
                                    token => token_of('manager'),
                                    keepalive => 1);

    is($connection->response->status, 200, 'a call beside a stream');
    is($connection->request('GET', '/lockbox/v1/whoami', keepalive => 1,
                            token => token_of('manager'))->response->status,
       200, '... and another one');
    $stream->close;
}

# Who does not read is not asked for; who reads again misses nothing.
sub slow_reader {
    my $stream = listen_as('manager', query => 'cursor=0-0');
    my $last = page('manager', limit => 100)->{next};
    my ($worker) = $t->workers;
    my $memory = sub {
        return Lockbox::Jose::slurp("/proc/$worker/status") =~ /VmRSS:\s+(\d+)/
            ? $1 : 0;
    };

    # some 15 MB of events
    redis('EVAL', <<'EOF_LUA', 0);
local time = redis.call('TIME')
for i = 1, 20000 do
    redis.call('XADD', 'lockbox:events', '*', 'event', 'filed',
               'tenant', 'acme', 'id', ('x'):rep(200), 'at', '1',
               'iss', 'i', 'sub', ('s'):rep(200), 'state', 'approved',
               'version', '1', 'engineer_iss', 'i', 'engineer_sub', 's')
end
redis.call('PUBLISH', 'lockbox:wake', '')
EOF_LUA

    my $fresh = file();
    my $before = $memory->();
    my $n = 0;
    my $seen;

    # in kB; an instrument keeps what was given back
    my $most = $ENV{LOCKBOX_NGINX} ? 1024 * 1024 : 4096;

    # the stream has only been opened: what is unread is in the sockets
    my $other = listen_as('customer');
    $other->block;
    my $id = file();
    is_deeply(heard($other, 1), [ 'filed acme' ], 'others are served');
    cmp_ok($memory->() - $before, '<', $most, 'and nothing piles up');
    $other->close;

    while (my $event = $stream->event) {
        $n++;
        $seen = $event;
        last if $event->{json}{subject} eq $id;
    }

    cmp_ok($n, '>', 20_000, 'nothing is missed');
    is($seen->{json}{subject}, $id, 'to the last');
    cmp_ok($memory->() - $before, '<', $most, 'at the end, too');

    $stream->close;
    redis('DEL', 'lockbox:events');
}

sub client_leaves {
    my @streams = map { listen_as('manager') } 1 .. 5;
    $_->block for @streams;
    $_->close for @streams;

    # they leave their places, which bounds() fills
    my $stream = listen_as('manager');
    $stream->block;
    file();
    is_deeply(heard($stream, 1), [ 'filed acme' ], 'others stay');
    $stream->close;
}

# The token is all that says who listens.
sub token_ends {
    my ($soon, $stream) = ending(sub {
        my ($token) = @_;
        my $stream = listen_as('manager', token => $token);

        return $stream->head->status == 200 && $stream;
    });
    my $other = listen_as('manager');

    $_->block for $stream, $other;
    ok($stream->ended, 'the end of the token ends a stream, as a whole');
    is(outcome(listen_as('manager', token => $soon)->head), '401 expired',
       '... and it does not come back by that');

    file();
    is_deeply(heard($other, 1), [ 'filed acme' ], 'others go on');
    $other->close;
}

# Without the subscription it looks by itself, and finds it again.
sub deaf {
    my $stream = listen_as('manager');
    $stream->block;

    redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    file();
    is_deeply(heard($stream, 1), [ 'filed acme' ], 'heard without being told');

    redis('ACL', 'SETUSER', 'default', 'resetchannels',
          '&__redis__:invalidate');
    redis('CLIENT', 'KILL', 'TYPE', 'pubsub');
    redis('EVAL', "redis.call('XADD', 'lockbox:events', '*', 'event', 'filed',"
                  . "'tenant', 'acme', 'at', '1', 'iss', 'i', 'sub', 's')", 0);
    is_deeply(heard($stream, 1), [ 'filed acme' ],
              '... and where that cannot be');
    redis('ACL', 'SETUSER', 'default', 'allchannels');

    $t->redis_stop;
    reconnect();
    $t->redis;
    $t->wait_for(sub { ask('manager', 'GET', $EVENTS)->status == 200 }, undef,
                 'nginx to find Redis');
    file();
    is_deeply(heard($stream, 1), [ 'filed acme' ], 'a new Redis is found');
    $stream->close;
}

# A worker that drains ends its streams, and does not stay for them.
sub reload {
    my @old = $t->workers;
    my @streams = map { listen_as($_) } qw(manager customer engineer);
    $_->block for @streams;

    my $last = page('manager', limit => 100)->{next};

    $t->reload;
    is($_->ended, 1, 'a reload ends a stream, as a whole') for @streams;
    $t->wait_for(sub { !grep { kill 0, $_ } @old }, undef,
                 'the old worker to go');

    file();
    my $stream = listen_as('manager', headers => { 'Last-Event-ID' => $last });
    is_deeply(heard($stream, 1), [ 'filed acme' ], '... which comes back');
    $stream->close;
}

sub many {
    my @streams = map { listen_as('manager') } 1 .. 200;
    $_->block for @streams;

    my $id = file();
    my @heard = map { heard($_, 1)->[0] } @streams;
    is_deeply(\@heard, [ ('filed acme') x 200 ], '200 streams hear it');
    is(outcome(listen_as('manager')->head), '429 too_many_requests',
       'another one is too much');

    my @clients = split /\n/, redis('CLIENT', 'LIST');
    cmp_ok(scalar @clients, '<', 12, 'with few connections to Redis');

    $_->close for @streams;
    $t->wait_for(sub { listen_as('manager')->head->status == 200 }, undef,
                 'places that are left');
    # still reading of 200 others
    is(page('manager', limit => 1)->{next} ne '', 1, 'pages go on');
}

sub bounds {
    change_conf(directives => { lockbox_streams => '3 person=2' });

    my @streams = map { listen_as($_) } qw(manager manager);
    is($_->head->status, 200, 'one of two') for @streams;

    my $refused = listen_as('manager')->head;
    is(outcome($refused), '429 too_many_requests', 'a third by one person');
    like($refused->json->{detail}, qr/as anybody may/, '... for that reason');

    push @streams, listen_as('customer');
    is($streams[2]->head->status, 200, 'somebody else has a place');
    $refused = listen_as('engineer')->head;
    is(outcome($refused), '429 too_many_requests', 'a fourth of three');
    like($refused->json->{detail}, qr/may be/, '... for that one');
    is(ask('engineer', 'GET', $EVENTS)->status, 200, 'pages are no streams');

    $streams[0]->close;
    $t->wait_for(sub {
        my $stream = listen_as('manager');
        return $stream->head->status == 200 && push @streams, $stream;
    }, undef, 'the place that was left');

    $_->close for @streams;

    change_conf(directives => { lockbox_streams => 0 });
    is(outcome(listen_as('manager')->head), '429 too_many_requests',
       'none at all');
}
