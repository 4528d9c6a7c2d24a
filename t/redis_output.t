#!/usr/bin/perl

# Why: a Redis that reads slowly takes a command in pieces.  What it has of one
# must be followed by the rest of it, whoever has gone meanwhile, or by nothing
# at all; or Redis would take what one person says for what another one does.
#
# The Redis of this test can be deaf, and there is little room between it and
# nginx, so that a script, or a batch of audit records, does not fit.

use strict;
use warnings;

use IO::Select;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Http2;
use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Trail;

my $PORT = 6379;

# Bytes: what a client queues for Redis at most, and less than a batch has that
# is full.
my $MOST = 4 * 1024 * 1024;
my $BATCH = 60_000;

my $BY_HASH = qr/^EVALSHA \S+ 0 show /;
my $WHOLE = qr/^EVAL \S.* 0 show /s;
my $NO_SCRIPT = "-NOSCRIPT No matching script.\r\n";

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t, lease => 0,
                                         narrow => $t->port($PORT));
my $turn = 0;

begin($t, through('60s'));

my @ids = map { file() } 1 .. 3;

my $script = length script();

slow();
given_up();
closed();
late();
full();
batches();
batches_closed();
quit();

done_testing;


sub through {
    my ($timeout) = @_;

    return (
        directives => {
            lockbox_redis => "127.0.0.1:%%PORT_$PORT%% timeout=$timeout "
                             . "connect_timeout=$timeout",
        },
        server => <<'EOF_SERVER',
listen 127.0.0.1:%%PORT_8443%% http2;

location = /plain {
    return 200 "plain\n";
}
EOF_SERVER
    );
}

sub script {
    $fake->forget;
    $fake->rules({ match => $BY_HASH, times => 1, play => [ $NO_SCRIPT ] });
    act('engineer', 'show', $ids[0]);

    return ($fake->seen($WHOLE))[0][2];
}

# So many calls, each of which has the whole script queued for a Redis that is
# deaf until release(name); the name, and the calls.
sub crowd {
    my ($count) = @_;

    my $name = 'turn ' . ++$turn;

    $fake->forget;
    $fake->rules(
        { match => $BY_HASH, times => 1,
          play => [ [ 'wait', "all of $name" ], [ 'deaf', $name ],
                    $NO_SCRIPT ] },
        { match => $BY_HASH, times => $count - 1, play => [ $NO_SCRIPT ] },
    );

    my @calls = map {
        $t->http_start('GET', uri($ids[$_ % @ids]),
                       token => token_of('engineer'))
    } 0 .. $count - 1;

    $fake->await($BY_HASH, $count);
    $fake->release("all of $name");
    $fake->told('admin');
    is($t->http('GET', '/plain')->status, 200, "$name: others are served");

    return ($name, @calls);
}

# Whether Redis has some of so many bytes of a client, and lacks some.
sub in_pieces {
    my ($name, $client, $bytes) = @_;

    my $there;

    $t->wait_for(sub { $there = $fake->unheard($client) }, undef, 'a piece');
    cmp_ok($there, '<', $bytes, "$name: Redis has a part of it");
}

sub answered_in_turn {
    my ($name, @calls) = @_;

    is(join(' ', map { $_->response->json->{id} // 'none' } @calls),
       join(' ', map { $ids[$_ % @ids] } 0 .. $#calls),
       "$name: each has its own answer");
    is(scalar $fake->seen($WHOLE), @calls, '... and all have been asked');
}

sub refused {
    my ($name, @calls) = @_;

    is(join(' ', map { outcome($_->response) } @calls),
       join(' ', ('503 store_unavailable') x @calls), "$name: refused");
}

# After the connections that were cut, the first words of new ones are whole.
sub back {
    my ($name) = @_;

    my $outcome;

    $t->wait_for(sub {
        $outcome = outcome(act('engineer', 'show', $ids[0]));
        return $outcome ne '503 store_unavailable';
    }, undef, 'Redis to be back');
    is($outcome, '200 ok', "$name: and well again on another connection");
}

sub slow {
    my ($connection) = $fake->connections('admin');
    my ($name, @calls) = crowd(3);

    in_pieces($name, 'admin', @calls * $script);
    $fake->release($name);
    answered_in_turn($name, @calls);
    is(($fake->connections('admin'))[0], $connection, '... on one connection');
}

# Those who wait for the gate's questions may go at any time.
sub given_up {
    my %token = ('200 ok' => $t->grant, '401 not_live' => $t->grant(live => 0));

    records();
    $fake->rules;
    $fake->forget;
    $fake->say('gate', [ 'deaf', 'gate' ]);

    # a connection has room for some hundred
    my @clients = map { Test::Lockbox::Http2->new($t->port(8443)) } 1 .. 4;
    my @all = map {
        my $expected = $_ % 10 ? '401 not_live' : '200 ok';
        my $client = $clients[$_ % @clients];
        [ $expected, $client, $client->request('GET', $MAIL,
                                               token => $token{$expected}) ];
    } 1 .. 400;
    my @leave = @all[0 .. 9, 200 .. 209, -10 .. -1];
    my @stay = @all[10 .. 199, 210 .. $#all - 10];
    my $left = 0;

    $_->sync for @clients;
    $t->wait_for(sub { $fake->unheard('gate') }, undef, 'a piece');
    $_->[1]->cancel($_->[2]) for @leave;
    $t->wait_for(sub { ($left += () = records()) == @leave }, undef,
                 'some to leave');
    $fake->release('gate');

    is(join("\n", map { outcome($_->[1]->response($_->[2])) } @stay),
       join("\n", map { $_->[0] } @stay),
       'some are given up: each of the others has its own answer');
    ok($fake->await($_, scalar @all), '... and all was asked')
        for qr/^GETEX /, qr/^HGET /;
}

sub closed {
    my ($name, @calls) = crowd(3);

    in_pieces($name, 'admin', @calls * $script);
    $fake->refuse;
    refused("$name, closed within a command", @calls);
    $fake->accept;
    back($name);
}

sub late {
    change_conf(through('1s'));
    $fake->rules;
    back('with a limit');

    my ($name, @calls) = crowd(3);

    refused("$name, which comes to no end", @calls);
    back($name);
    like($t->read_file('error.log'), qr/out of service: no reply in time/,
         '... as the log says');
    $fake->release($name);
    change_conf(through('60s'));
    back('without it');
}

# More than may be queued: who comes last is refused, who waits is not.
sub full {
    my $count = int($MOST / $script) + 4;
    my ($name, @calls) = crowd($count);
    my $last = pop @calls;

    refused("$name, the last one", $last);
    ok(!IO::Select->new($calls[0]->socket)->can_read(0),
       '... while the first one waits');
    $fake->refuse;
    refused("$name, all others", @calls);
    $fake->accept;
    back($name);
}

# Leaves a batch of records under way to a Redis that is deaf until
# release(name), and others behind it.
sub batch {
    my ($name) = @_;

    my $grant = $t->grant(live => 0);
    my $knocks = sub {
        knock($grant, 'GET', '/tenants/acme/mail/' . 'x' x 1000) for 1 .. $_[0];
    };

    # what gathers until the answer comes makes a batch as large as can be
    $fake->forget;
    $fake->rules({ match => $SHIPS, times => 1,
                   play => [ [ 'wait', "all of $name" ], [ 'deaf', $name ],
                             [ 'reply' ] ] });
    $knocks->(1);
    $fake->await($SHIPS);
    $knocks->(60);
    $fake->release("all of $name");

    in_pieces($name, 'trail', $BATCH);
    $knocks->(20);
}

sub batches {
    batch('records');
    $fake->release('records');
    complete('acme', 'records that Redis takes in pieces: each, once');
}

sub batches_closed {
    batch('closed');
    $fake->refuse;
    $fake->accept;
    complete('acme', 'closed within a batch: each, once');
}

# A worker that must go at once lets all of it lie.
sub quit {
    my ($name, @calls) = crowd(3);

    in_pieces($name, 'admin', @calls * $script);
    batch('quit');

    my $nginx = $t->{nginx};

    $t->signal('TERM');
    ok(poll(sub { !$nginx->running && !$nginx->members }),
       'nginx ends within a command');
    is($nginx->how, 'with status 0', '... as it should');
    $t->forget($nginx);
}
