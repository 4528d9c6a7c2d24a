#!/usr/bin/perl

# Why: a Redis that reads slowly takes a command in pieces.  What it has of one
# must be followed by the rest of it, whoever has gone meanwhile, or by nothing
# at all; or Redis would take what one person says for what another one does.
#
# nginx is held wherever a test wants it to be within a command, and Redis says
# how much of it has come.

use strict;
use warnings;

use IO::Select;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Http2;
use Test::Lockbox::Pieces;
use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Trail;

# Bytes: what a client queues for Redis at most.
my $MOST = 4 * 1024 * 1024;

my $SHOW = "\r\nshow\r\n";
my $SCRIPT = "\r\nEVAL\r\n";
my $GETEX = "\r\nGETEX\r\n";

# A worker that takes its leave has nothing where others have a time, and before
# the number of entries that a stream may have.
my $LEAVE = "\r\n\$0\r\n\r\n\$5\r\n50000\r\n";

my $BY_HASH = qr/^EVALSHA \S+ 0 show /;
my $WHOLE = qr/^EVAL \S.* 0 show /s;
my $NO_SCRIPT = "-NOSCRIPT No matching script.\r\n";

# Where nginx is slow, it must have time to be held.
my $PATIENT = '60s';
my $HASTY = int(($ENV{LOCKBOX_TIMEOUT} // 20) / 10) . 's';

# Where a command that is in three pieces is cut: about the ends of each.
my @CUTS = (
    [ 'its first byte',        sub { 1 } ],
    [ 'most of its text',      sub { $_[0] - 1 } ],
    [ 'its text',              sub { $_[0] } ],
    [ 'a byte of the batch',   sub { $_[0] + 1 } ],
    [ 'most of the batch',     sub { $_[0] + $_[1] - 1 } ],
    [ 'the batch',             sub { $_[0] + $_[1] } ],
    [ 'half of the line end',  sub { $_[0] + $_[1] + 1 } ],
);

# ... and some of them, where each takes its time.
my @SOME_CUTS = @CUTS[0, 3, 6];

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t, lease => 0);
my $pieces = Test::Lockbox::Pieces->new($t);
my $turn = 0;

begin($t, through($PATIENT));
$t->stop;
$pieces->within(sub { $t->run });

my @ids = map { file() } 1 .. 3;
my $dead = $t->grant(live => 0);

complete('acme', 'the trail is there');

slow();
closed();
full();
given_up();
batches();
batches_in_bits();
batches_closed();
batches_while_leaving();
leave();
late();
batches_late();
leave_late();
batch_late_while_leaving();
quit();

done_testing;


sub through {
    my ($timeout) = @_;

    return (
        directives => {
            lockbox_redis => 'unix:%%TESTDIR%%/fake.sock '
                             . "timeout=$timeout connect_timeout=$timeout",
        },
        server => <<'EOF_SERVER',
listen 127.0.0.1:%%PORT_8443%% http2;

location = /plain {
    return 200 "plain\n";
}
EOF_SERVER
    );
}

# With the worker of before gone.
sub change {
    my ($timeout) = @_;

    my ($old) = $t->workers;

    change_conf(through($timeout));
    gone($old);
}

sub gone {
    my ($pid) = @_;

    $t->wait_for(sub { !kill 0, $pid }, undef, "$pid to go");
}

# Redis has so much of what is held, and will have no more.
sub has_part {
    my ($client, $bytes, $name) = @_;

    $pieces->allow($bytes);
    ok(poll(sub { $fake->begun($client) == $bytes }),
       "$name: Redis has so much of it")
        or diag($fake->begun($client) . ' and not ' . $bytes);
}


# Calls of the admin API

# So many calls whose commands are held; the size of the first one, and the
# calls.
sub crowd {
    my ($count, $text) = @_;

    $fake->forget;
    $pieces->hold($text // $SHOW);

    my @calls = map {
        $t->http_start('GET', uri($ids[$_ % @ids]),
                       token => token_of('engineer'))
    } 0 .. $count - 1;

    my ($size) = $pieces->held;

    is($t->http('GET', '/plain')->status, 200, 'others are served meanwhile');

    return ($size, @calls);
}

sub answered_in_turn {
    my ($name, @calls) = @_;

    is(join(' ', map { $_->response->json->{id} // 'none' } @calls),
       join(' ', map { $ids[$_ % @ids] } 0 .. $#calls),
       "$name: each has its own answer");
    is(scalar $fake->seen($BY_HASH), @calls, '... and all have been asked');
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
    eventually($dead, '401 not_live');
}

sub slow {
    my ($connection) = $fake->connections('admin');

    for my $cut (1, -1) {
        my ($size, @calls) = crowd(3);
        my $name = "a cut at $cut";

        has_part('admin', $cut % $size, $name);
        $pieces->release;
        answered_in_turn($name, @calls);
    }

    my ($size, @calls) = crowd(3);

    $pieces->allow($size + 1);
    ok(poll(sub { $fake->begun('admin') == 1 }),
       'one is written, and a byte of the next one');
    is($calls[0]->response->json->{id}, $ids[0], '... the one is answered');
    ok(!IO::Select->new($calls[1]->socket)->can_read(0), '... and no other');
    $pieces->release;
    is(join(' ', map { $_->response->json->{id} } @calls[1, 2]),
       "@ids[1, 2]", '... until they are written');

    is(($fake->connections('admin'))[0], $connection, 'on one connection');
}

sub closed {
    my ($size, @calls) = crowd(3);

    has_part('admin', $size - 1, 'a connection that closes');
    $fake->refuse;
    refused('closed within a command', @calls);
    is(join(' ', $fake->torn), $size - 1, '... of which no more has come');
    $fake->accept;
    back('closed');
    complete('acme', '... and so is the trail');
}

sub late {
    change($HASTY);
    back('with a limit');

    my ($size, @calls) = crowd(3);

    has_part('admin', $size - 1, 'a command that comes to no end');
    refused('late', @calls);
    ok($pieces->gone, '... the connection is given up');
    $pieces->release;
    back('late');
    is(join(' ', $fake->torn), $size - 1, '... no more of it has come');
    like($t->read_file('error.log'), qr/out of service: no reply in time/,
         '... as the log says');
}

# More than may be queued: who comes last is refused, who waits is not.
sub full {
    $fake->forget;
    $fake->rules({ match => $BY_HASH, times => 1, play => [ $NO_SCRIPT ] });
    act('engineer', 'show', $ids[0]);

    my $count = int($MOST / length +($fake->seen($WHOLE))[0][2]) + 4;

    $fake->rules({ match => $BY_HASH, times => $count,
                   play => [ [ 'wait', 'all' ], $NO_SCRIPT ] });
    $pieces->hold($SCRIPT, 100);

    my @calls = map {
        $t->http_start('GET', uri($ids[0]), token => token_of('engineer'))
    } 1 .. $count;

    $fake->await($BY_HASH, $count);
    $fake->release('all');

    # tokens are looked at in turn, so that nobody knows who comes last
    my $waits = sub { !IO::Select->new($_->socket)->can_read(0) };
    my $last;

    poll(sub { ($last) = grep { !$waits->() } @calls }) or die "none refused";
    refused('more than may be queued, the last one', $last);
    @calls = grep { $_ != $last } @calls;
    ok(poll(sub { $fake->begun('admin') == 100 }),
       '... while Redis has a part of the first one');
    ok((grep { $waits->() } @calls), '... which waits');
    $fake->refuse;
    refused('more than may be queued, all others', @calls);
    $fake->rules;
    $fake->accept;
    back('less');
}


# Questions of the gate

# Those who wait may go at any time, the one of whom Redis has a part, too.
sub given_up {
    my %token = ('200 ok' => $t->grant, '401 not_live' => $dead);
    my @clients = map { Test::Lockbox::Http2->new($t->port(8443)) } 1 .. 2;
    my $left = 0;
    my $request = sub {
        my $expected = $_ % 3 ? '401 not_live' : '200 ok';
        my $client = $clients[$_ % @clients];

        return [ $expected, $client, $client->request('GET', $MAIL,
                                            token => $token{$expected}) ];
    };

    records();
    $fake->forget;
    $pieces->hold($GETEX);

    my ($first) = map { $request->() } 1;
    my ($size) = $pieces->held;

    has_part('gate', $size - 1, 'a question');

    my @others = map { $request->() } 2 .. 80;
    my @leave = ($first, @others[20 .. 29, -10 .. -1]);
    my @stay = @others[0 .. 19, 30 .. $#others - 10];

    # tokens are looked at in turn, also that of another call
    $_->sync for @clients;
    act('engineer', 'show', $ids[0]);
    $_->[1]->cancel($_->[2]) for @leave;
    $t->wait_for(sub { ($left += () = records()) == @leave }, undef,
                 'some to leave');
    is($fake->begun('gate'), $size - 1, '... more of which has not come');
    $pieces->release;

    is(join("\n", map { outcome($_->[1]->response($_->[2])) } @stay),
       join("\n", map { $_->[0] } @stay),
       'some are given up: each of the others has its own answer');
    ok($fake->await($_, 1 + @stay), '... and was asked for')
        for qr/^GETEX /, qr/^HGET /;
}


# Batches of the trail, whose bytes are only lent

# Holds a batch, with others behind it, once Redis has that much of it; its name
# and how much that is.
sub batch {
    my ($cut) = @_;

    my ($what, $where) = @$cut;
    my $name = 'batch-' . ++$turn . '.';

    $fake->forget;
    $pieces->hold("/tenants/acme/mail/$name");
    knock($dead, 'GET', "/tenants/acme/mail/$name");

    my @sizes = $pieces->held;
    my $bytes = $where->(@sizes);

    is(@sizes, 3, "$name: three pieces");
    has_part('trail', $bytes, "$name, $what");
    knock($dead) for 1 .. 3;

    return ($name, $bytes);
}

# Each record is in the stream once, and Redis was told of it so often.
sub all_once {
    my ($name) = @_;

    complete('acme', "$name: each record, once");
    is(scalar $fake->seen(qr/$SHIPS.*mail\/\Q$name\E/s), 1,
       '... which has come once, whole');
}

sub batches {
    complete('acme', 'nothing is under way');

    my @connections = $fake->connections('trail');

    for my $cut (@CUTS) {
        my ($name) = batch($cut);

        $pieces->release;
        all_once($name);
    }

    is(join(' ', $fake->connections('trail')), "@connections",
       'on one connection');
}

# All of these cuts in one command.
sub batches_in_bits {
    my ($first, @more) = @CUTS;
    my ($name) = batch($first);
    my @sizes = $pieces->held;

    for my $cut (@more) {
        my ($what, $where) = @$cut;

        has_part('trail', $where->(@sizes), "$name, $what");
    }

    $pieces->release;
    all_once($name);
}

sub batches_closed {
    for my $cut (@CUTS) {
        my ($name, $bytes) = batch($cut);

        $fake->say('trail', [ 'close' ]);
        all_once($name);
        is(join(' ', $fake->torn), $bytes, '... behind a part of it');
        ok($pieces->gone, '... on another connection');
    }
}

# A worker that drains stays until its batch has arrived, and takes its leave.
sub batches_while_leaving {
    for my $cut (@SOME_CUTS) {
        my ($old) = $t->workers;
        my ($known) = grep { /-$old\z/ } workers();
        my ($name, $bytes) = batch($cut);

        change_conf(through($PATIENT));
        is($fake->begun('trail'), $bytes, "$name, while its worker leaves");
        $pieces->release;
        gone($old);
        all_once($name);
        ok(!(grep { $_ eq $known } workers()), '... and the worker has left');
    }
}

# The connection is given up, and nothing follows what Redis has.
sub batches_late {
    for my $cut (@SOME_CUTS) {
        my ($name, $bytes) = batch($cut);

        $t->wait_for(sub { $pieces->gone }, undef, 'the deadline');
        all_once($name);
        is(join(' ', $fake->torn), $bytes, '... behind a part of it');
    }
}

# A worker that drains may have the time to try again.
sub batch_late_while_leaving {
    my ($old) = $t->workers;
    my ($name, $bytes) = batch($CUTS[4]);
    my $said = missing();

    change_conf(through($HASTY));
    gone($old);
    is(join(' ', $fake->torn), $bytes, "$name: no more has come");
    is(records_of($name), missing() > $said ? 0 : 1,
       '... and the record is there, once, or the log says that it is not');
}

sub missing {
    my @lines = $t->read_file('error.log')
                =~ /bytes of audit records may not have got/g;

    return scalar @lines;
}

sub records_of {
    my ($name) = @_;

    return scalar grep { $_->{record} =~ /\Q$name\E/ } trail('acme');
}


# The leave of a worker, the answer to which it does not wait for

# Holds it at that place; the worker, and what it is called.
sub leaving {
    my ($timeout, $where) = @_;

    my ($old) = $t->workers;

    knock($dead);
    complete('acme', 'all has arrived');

    my ($known) = grep { /-$old\z/ } workers();

    $fake->forget;
    $pieces->hold($LEAVE);
    change_conf(through($timeout));

    my @sizes = $pieces->held;
    my $bytes = $where->(@sizes);

    is(@sizes, 2, 'a leave is in two pieces');
    has_part('trail', $bytes, 'a leave');

    return ($old, $known, $bytes);
}

sub leave {
    for my $where (sub { 1 }, sub { $_[0] - 1 }, sub { $_[0] },
                   sub { $_[0] + 1 })
    {
        my ($old, $known) = leaving($PATIENT, $where);

        ok(!$pieces->gone && kill(0, $old), '... the worker stays for it');
        $pieces->release;
        gone($old);
        ok(poll(sub { !grep { $_ eq $known } workers() }),
           '... until it is written');
    }
}

sub leave_late {
    my ($old, $known, $bytes) = leaving($HASTY, sub { $_[0] - 1 });

    gone($old);
    ok(poll(sub { join(' ', $fake->torn) eq $bytes }),
       '... and at the deadline the worker goes');
    ok((grep { $_ eq $known } workers()), '... which is known to be missing');
}


# A worker that must go at once lets all of it lie.
sub quit {
    change($PATIENT);
    back('patient');

    my ($name, $bytes) = batch($CUTS[4]);
    my $nginx = $t->{nginx};
    my $said = missing();

    $t->signal('TERM');
    ok(poll(sub { !$nginx->running && !$nginx->members }),
       'nginx ends within a command');
    is($nginx->how, 'with status 0', '... as it should');
    $t->forget($nginx);

    ok(poll(sub { join(' ', $fake->torn) eq $bytes }), '... no more has come');
    is(records_of($name), 0, '... so that the record is missing');
    cmp_ok(missing(), '>', $said, '... as the log says');
}
