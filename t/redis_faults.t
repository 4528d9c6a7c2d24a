#!/usr/bin/perl

# Why: whatever Redis says, does not say, or says too late, the gate stays shut
# and the worker goes on.  Each fault is one thing wrong with a Redis that is
# right otherwise, and ends without a restart.  The numbers are those of the
# faults that are known.  Failing allocations (R22) are met in t/unit/resp.c,
# replicas in t/admin_store.t.

use strict;
use warnings;

use Fcntl qw(O_NONBLOCK O_RDWR);
use POSIX qw(mkfifo);
use Time::HiRes ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis qw(halted taken);
use Test::Lockbox::Vitals qw(descriptors memory);

my $LIVE = "\$4\r\nlive\r\n";
my $APPROVED = "\$8\r\napproved\r\n";
my $NIL = "\$-1\r\n";

# The limit for a reply: longer than this test would wait, unless a fault is
# that no reply comes.
my $PATIENT = 'timeout=60s connect_timeout=60s';
my $HASTY = 'timeout=250ms connect_timeout=250ms';

my $POLICY = '/lockbox/v1/tenants/acme/policy';
my $SHOW = qr/^EVALSHA \S+ 0 show /;

# No answers of the script, as reply() takes them.
my %WRONG = (
    'READONLY' => \"-READONLY You can't write against a replica.\r\n",
    'OOM' => \"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    'an error of the script' => \"-ERR lockbox workflow: made up\r\n",
    'a status' => \"+ok\r\n",
    'a number' => \":1\r\n",
    'nil' => \$NIL,
    'no array' => \"*-1\r\n",
    'a text' => 'ok',
    'nothing' => [],
    'a word alone' => [ 'ok' ],
    'no actions' => [ 'ok', [ 'id', 'x' ] ],
    'a word as a status' => [ \"+ok\r\n", [], [] ],
    'a number for a word' => [ \":1\r\n", [], [] ],
    'a word that is none' => [ 'fine', [ 'id', 'x' ], [] ],
    'half a word' => [ 'o', [ 'id', 'x' ], [] ],
    'an error within' => [ \"-ERR\r\n", [], [] ],
);

my %WRONG_REQUEST = (
    %WRONG,
    'no fields' => [ 'ok', [], [] ],
    'text for fields' => [ 'ok', 'id', [] ],
    'a field without a value' => [ 'ok', [ 'id' ], [] ],
    'a number for a value' => [ 'ok', [ 'id', \":1\r\n" ], [] ],
    'a list for a value' => [ 'ok', [ 'id', [] ], [] ],
    'nil for a value' => [ 'ok', [ 'id', \$NIL ], [] ],
    'a value that is no UTF-8' => [ 'ok', [ 'id', "\xff" ], [] ],
    'a name that is too long' => [ 'ok', [ 'x' x 64, 'x' ], [] ],
    'text for actions' => [ 'ok', [ 'id', 'x' ], 'cancel' ],
    'a number for an action' => [ 'ok', [ 'id', 'x' ], [ \":1\r\n" ] ],
    'the answer to a list' => [ 'ok', '', [] ],
    'a refusal with half a field' => [ 'conflict', [ 'id' ], [] ],
);

my %WRONG_LIST = (
    %WRONG,
    'no cursor' => [ 'ok', [] ],
    'a number for a cursor' => [ 'ok', \":1\r\n", [] ],
    'a text for a page' => [ 'ok', '', 'x' ],
    'a text for a request' => [ 'ok', '', [ 'x' ] ],
    'a request without actions' => [ 'ok', '', [ [ [ 'id', 'x' ] ] ] ],
    'half a field' => [ 'ok', '', [ [ [ 'id' ], [] ] ] ],
    'the answer about a request' => [ 'ok', [ 'id', 'x' ], [] ],
);

my %WRONG_EVENTS = (
    %WRONG,
    'the answer to a list' => [ 'ok', '0-0', [] ],
    'a number for a cursor' => [ 'ok', \":1\r\n", [], '' ],
    'a text for events' => [ 'ok', '0-0', 'x', '' ],
    'a text for an event' => [ 'ok', '0-0', [ 'x' ], '' ],
    'an event without fields' => [ 'ok', '0-0', [ [ '1-0' ] ], '' ],
    'half a field' => [ 'ok', '0-0', [ [ '1-0', [ 'id' ] ] ], '' ],
    'a number for a gap' => [ 'ok', '0-0', [], \":1\r\n" ],
);

my %WRONG_AUDIT = (
    %WRONG,
    'the answer to a list' => [ 'ok', '', [] ],
    'no workers' => [ 'ok', '', [], '1' ],
    'a number for a cursor' => [ 'ok', \":1\r\n", [], '1', [] ],
    'a text for records' => [ 'ok', '', '{}', '1', [] ],
    'a number for a record' => [ 'ok', '', [ \":1\r\n" ], '1', [] ],
    'a list for a record' => [ 'ok', '', [ [] ], '1', [] ],
    'a record of another' =>
        [ 'ok', '', [ '{"organization.id":"globex"}' ], '1', [] ],
    'a number for a time' => [ 'ok', '', [], \":1\r\n", [] ],
    'a text for workers' => [ 'ok', '', [], '1', 'x' ],
    'nil for a worker' => [ 'ok', '', [], '1', [ \$NIL, '1' ] ],
);

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t);

$t->write_file('password', "sesame\n");

# nginx opens it when it is open here
my $PIPE = pipe_to('pipe');

begin($t, conf_parts("fake.sock $PATIENT"));

# Made while Redis is well.  One that was let in is trusted for a while
# without asking Redis, so that each fault needs another one.
my @fresh = map { $t->grant } 1 .. 400;
my $dead = $t->grant(live => 0);

the_gate();
the_admin_api();
the_real_one();

done_testing;


sub pipe_to {
    my ($name) = @_;

    my $path = $t->testdir . "/$name";

    mkfifo($path, 0600) or die "$path: $!\n";
    sysopen my $pipe, $path, O_RDWR | O_NONBLOCK or die "$path: $!\n";

    return $pipe;
}


# How it is asked

sub conf_parts {
    my ($redis) = @_;

    return (
        directives => { lockbox_redis => "unix:%%TESTDIR%%/$redis" },
        server => <<'EOF_SERVER',
listen unix:%%TESTDIR%%/nginx.sock;

location = /plain {
    return 200 "plain\n";
}

location = /piped {
    access_log %%TESTDIR%%/pipe;
    return 204;
}
EOF_SERVER
    );
}

# New workers, with that Redis: the first attempt to connect is not delayed
# by those that failed before.
sub anew {
    my ($redis) = @_;

    $t->write_conf($t->conf(conf_parts($redis)));
    $t->reload;
}

sub patiently {
    anew("fake.sock $PATIENT");
}

sub hastily {
    anew("fake.sock $HASTY");
}

sub rule {
    my ($match, @steps) = @_;

    return { match => $match, play => \@steps };
}

# The replies to the two questions of a look-up, as one.
sub answers {
    my (@steps) = @_;

    return (rule(qr/^GETEX /), rule(qr/^HGET /, @steps));
}

# What Redis was asked for somebody; sweep and watch ask by themselves.
sub asked {
    return $fake->seen(qr/^(?!CONNECT|CLIENT|AUTH|SELECT|SUBSCRIBE|PING
                              |DEL\ lockbox:heartbeat|EVAL.*\ 0\ due[ ]
                              |EVAL\ --\ Appends
                              |EVALSHA\ [0-9a-f]{40}\ 0\ [0-9a-f]{16}-\d)/sx);
}

# What becomes of a call, or of a request with that grant, once Redis can be
# asked.
sub settled {
    my ($asked) = @_;

    my $outcome;

    $t->wait_for(sub {
        $outcome = outcome(ref $asked ? $asked->() : knock($asked));
        return $outcome ne '503 store_unavailable';
    }, undef, 'Redis to be back');

    return $outcome;
}

sub another {
    return shift(@fresh) // die "no more grants\n";
}

# Requests that the tenant API saw are those that were let in.
sub refused {
    my ($name, @rules) = @_;

    my $before = $t->upstream_connections;

    records();
    $fake->rules(@rules);

    my $gated = $t->http_start('GET', $MAIL, token => another());

    is($t->http('GET', '/plain')->status, 200, "$name: others are served");
    is(outcome($gated->response), '503 store_unavailable', '... is refused');

    $fake->rules;

    is(settled(another()), '200 ok', '... and let in afterwards');
    is($t->upstream_connections, $before + 1, '... and only then');
    is_deeply([ in_turn(record_words(records())) ],
              [ 'end access store_unavailable', 'start access',
                'end access allow' ], '... which is on record');
}

# Without what only repeats.
sub in_turn {
    my $last = '';

    return grep { my $new = $_ ne $last; $last = $_; $new } @_;
}

sub worker {
    return ($t->workers)[0];
}


# The gate

sub the_gate {
    nobody_waits();
    error_replies();
    wrong_replies();
    in_pieces();
    garbage();
    greetings();
    no_connection();
    cut_off();
    no_reply();
    too_late();
    replies_of_others();
    surplus();
    flapping();
    injection();
}

# With a limit so long, a worker that waited for Redis would serve nobody.
sub nobody_waits {
    $fake->rules(rule(qr/^GETEX /, [ 'wait', 'asked' ], [ 'reply' ]));
    $fake->forget;

    my $gated = $t->http_start('GET', $MAIL, token => another());
    $fake->await(qr/^HGET /);

    is($t->http('GET', '/plain')->status, 200, 'served while Redis is asked');
    is($t->upstream_connections, 0, '... and nobody is let in yet');

    $fake->release('asked');

    is(outcome($gated->response), '200 ok', '... but with the answer');
    is(outcome(knock($dead)), '401 not_live', '... if it is the right one');
}

sub error_replies {
    my %errors = (
        'R01' => "-READONLY You can't write against a read only replica.",
        'R02' => '-NOAUTH Authentication required.',
        'R03' => '-LOADING Redis is loading the dataset in memory',
        'R04' => '-MISCONF Redis is configured to save RDB snapshots, but it '
                 . 'is currently unable to persist to disk.',
        'R05' => '-CLUSTERDOWN The cluster is down',
        'R06' => '-WRONGTYPE Operation against a key holding the wrong kind '
                 . 'of value',
        'R18' => '-NOREPLICAS Not enough good replicas to write.',
        'a key elsewhere' => '-MOVED 3999 127.0.0.1:6381',
        'a busy script' => '-BUSY Redis is busy running a script.',
        'too few rights' => '-NOPERM this user has no permissions',
        'an unknown command' => "-ERR unknown command 'GETEX'",
        'an error of no words' => '-',
    );

    my ($connection) = $fake->connections('gate');

    for my $name (sort keys %errors) {
        refused("$name, for the live key",
                rule(qr/^GETEX /, "$errors{$name}\r\n"));
        refused("$name, for the state",
                rule(qr/^HGET /, "$errors{$name}\r\n"));
    }

    is_deeply([ $fake->connections('gate') ], [ $connection ],
              'an error is a reply: the connection stays');
}

sub wrong_replies {
    my %replies = (
        'R08: one' => ":1\r\n",
        'R08: nought' => ":0\r\n",
        'a status' => "+live\r\n",
        'OK' => "+OK\r\n",
        'no elements' => "*0\r\n",
        'it, in an array' => "*1\r\n\$4\r\nlive\r\n",
        'an array of arrays' => "*1\r\n*1\r\n*0\r\n",
        'an empty text' => "\$0\r\n\r\n",
    );

    for my $name (sort keys %replies) {
        refused("$name, for the live key", rule(qr/^GETEX /, $replies{$name}));
        refused("$name, for the state", rule(qr/^HGET /, $replies{$name}));
    }

    refused("$_, for the live key",
            rule(qr/^GETEX /, '$' . length($_) . "\r\n$_\r\n"))
        for 'LIVE', 'live ', 'livelive', "live\0", 'liv', 'approved', '1';

    refused("$_, for the state of a grant with a live key",
            rule(qr/^HGET /, '$' . length($_) . "\r\n$_\r\n"))
        for 'live', 'awaiting_manager', 'denied', 'APPROVED', "approved\0";
}

# Whatever way the bytes of the two replies come.
sub in_pieces {
    my %replies = ("$LIVE$APPROVED" => '200 ok',
                   "$NIL\$7\r\nrevoked\r\n" => '401 revoked');

    for my $bytes (sort keys %replies) {
        my $length = length $bytes;
        my @wrong;

        for my $at (1 .. $length - 1) {
            $fake->rules(answers(substr($bytes, 0, $at), [ 'taken' ],
                                 substr $bytes, $at));
            my $outcome = outcome(knock(another()));
            push @wrong, "$outcome at $at" if $outcome ne $replies{$bytes};
        }

        is("@wrong", '', "$replies{$bytes}, in two pieces");

        $fake->rules(answers(map { ($_, [ 'taken' ]) } split //, $bytes));
        is(outcome(knock(another())), $replies{$bytes}, '... and byte by byte');
    }

    $fake->rules;
}

sub garbage {
    my %garbage = (
        'R07: a TLS alert' => "\x15\x03\x03\x00\x02\x02\x28",
        'R09: no end behind a text' => "\$4\r\nliveXX",
        'R09: the end of a text reversed' => "\$4\r\nlive\n\r",
        'R09: a text longer than it says' => "\$4\r\nlivelive\r\n",
        'R09: a line within a line' => "+li\nve\r\n",
        'R10: 10^9 elements' => "*1000000000\r\n",
        'R10: an array over all numbers' => "*9223372036854775807\r\n",
        'R10: a text over all numbers' => "\$9223372036854775808\r\n",
        'R10: more than a reply may have' =>
            "\$1000000000\r\n" . 'x' x 100_000,
        'R10: arrays without an end' => "*1\r\n" x 100,
        'R11: a push' => ">2\r\n+invalidate\r\n*0\r\n",
        'R11: null' => "_\r\n",
        'R11: true' => "#t\r\n",
        'R11: a map' => "%1\r\n+a\r\n+b\r\n",
        'R11: a verbatim text' => "=8\r\ntxt:live\r\n",
        'a text of length -2' => "\$-2\r\n",
        'a length that is none' => "\$4x\r\nlive\r\n",
        'HTTP' => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlive",
        'nothing but a line end' => "\r\n",
    );

    for my $name (sort keys %garbage) {
        patiently();
        refused($name, answers($garbage{$name}));
    }

    patiently();
    refused('R09: behind a good reply',
            answers($LIVE . "\$8\r\napprovedXX"));
}

# What is wrong from the beginning of a connection.
sub greetings {
    my $arguments = "$PATIENT password_file=%%TESTDIR%%/password db=3";
    my @right = (rule(qr/^AUTH /, "+OK\r\n"), rule(qr/^SELECT /, "+OK\r\n"));
    my $hint = "'AUTH', with args beginning with: 'sesame' ";

    $t->write_conf($t->conf(conf_parts("fake.sock $arguments")));

    my %faults = (
        'R02: a wrong password' =>
            rule(qr/^AUTH /, "-WRONGPASS invalid password\r\n"),
        'R02: a password, and no AUTH' =>
            rule(qr/^AUTH /, "-ERR unknown command $hint\r\n"),
        'R08: a number for AUTH' => rule(qr/^AUTH /, ":1\r\n"),
        'QUEUED for AUTH' => rule(qr/^AUTH /, "+QUEUED\r\n"),
        'no such database' =>
            rule(qr/^SELECT /, "-ERR DB index is out of range\r\n"),
        'a text for SELECT' => rule(qr/^SELECT /, "\$2\r\nOK\r\n"),
        'R08: a number for the name' => rule(qr/^CLIENT /, ":1\r\n"),
        'R07: a TLS alert for a greeting' =>
            rule(qr/^CONNECT/, "\x15\x03\x03\x00\x02\x02\x28"),
        'a connection that is closed at once' =>
            rule(qr/^CONNECT/, [ 'close' ]),
        'a connection that is closed behind AUTH' =>
            rule(qr/^SELECT /, [ 'close' ]),
        'R03: LOADING for a greeting' =>
            rule(qr/^(AUTH|SELECT|CLIENT) /, "-LOADING Redis is loading\r\n"),
    );

    my $greeted = sub {
        my ($name, $rule) = @_;

        $fake->rules($rule, @right);
        $fake->forget;
        $t->reload;
        is(outcome(knock(another())), '503 store_unavailable', $name);

        my @asked = asked();

        $fake->rules(@right);
        is(settled(another()), '200 ok', '... until it goes right');

        return scalar @asked;
    };

    is($greeted->($_, $faults{$_}), 0, '... and nothing was asked before')
        for sort keys %faults;

    # this one may pass for the reply to AUTH, and each for one before
    $greeted->('R12: a reply before the first command',
               rule(qr/^CONNECT/, "+OK\r\n"));

    $fake->rules(rule(qr/^CLIENT /, "-NOPERM no permissions\r\n"), @right);
    $t->reload;
    is(outcome(knock(another())), '200 ok', 'a user need not be able to say who');

    unlike($t->read_file('error.log'), qr/sesame/,
           'no password in the error log');

    $fake->rules;
}

sub no_connection {
    patiently();

    my $before = $t->upstream_connections;

    for my $how ('refused', 'not there') {
        $fake->refuse;
        unlink $t->testdir . '/fake.sock' if $how eq 'not there';

        is(outcome(knock(another())), '503 store_unavailable',
           "R13: a connection that is $how");
        is(outcome(knock(another())), '503 store_unavailable', '... and again');
        is($t->http('GET', '/plain')->status, 200, '... others are served');
        is(outcome(act('manager', 'show', Test::Lockbox::Conf::uuid7())),
           '503 store_unavailable', '... and the API says so');
        is($t->upstream_connections, $before, '... and nobody is let in');

        $fake->accept;
        is(settled(another()), '200 ok', '... until it is accepted again');
        $before++;
    }

    $fake->refuse;
    $t->reload;
    is(outcome(knock(another())), '503 store_unavailable',
       'R13: a worker that begins without Redis');
    $fake->accept;
    is(settled(another()), '200 ok', '... finds it');
}

sub cut_off {
    my $bytes = $LIVE . $APPROVED;

    for my $at (0, 1, 9, 10, 11, 23) {
        patiently();
        refused("R15: closed behind $at bytes",
                answers(substr($bytes, 0, $at), [ 'close' ]));
    }

    patiently();
    $fake->rules(answers($bytes, [ 'close' ]));
    is(outcome(knock(another())), '200 ok', 'closed behind a whole reply');
    $fake->rules;
    is(settled(another()), '200 ok', '... which is no harm');
}

# As if Redis were there.
sub no_reply {
    my %silence = (
        'R14: no reply' => [ rule(qr/^(GETEX|HGET) /) ],
        'R14: no reply to the second question' => [ rule(qr/^HGET /) ],
        'R15: half a reply' => [ answers("${LIVE}\$8\r\napp") ],
        'R10: 10^9 bytes to come' => [ answers("\$1000000000\r\nlive\r\n") ],
        'an array that is not filled' => [ answers("*2\r\n$LIVE") ],
        'a line without an end' => [ answers('+live') ],
    );

    for my $name (sort keys %silence) {
        hastily();
        refused($name, @{ $silence{$name} });
    }

    $fake->rules(rule(qr/./));
    hastily();
    $fake->rules(rule(qr/./));
    refused('R14: accepted, and never answered', rule(qr/./));
}

# A worker that was held up finds a whole reply that is too old: here by a log
# that is a pipe, and full.
sub too_late {
    for my $limit ($HASTY, $PATIENT) {
        anew("fake.sock $limit");
        settled($dead);     # a connection that is still made would ask nothing
        $fake->rules(rule(qr/^GETEX /, [ 'wait', $limit ], [ 'reply' ]));
        $fake->forget;

        my $before = $t->upstream_connections;
        my $holds_up = Test::Lockbox::Http->new($t->testdir . '/nginx.sock');
        my $gated = $t->http_start('GET', $MAIL, token => another());

        $fake->await(qr/^HGET /);

        my $over = Time::HiRes::time() + 0.3;

        1 while syswrite $PIPE, 'x' x 4096;
        $holds_up->request('GET', '/piped');
        $t->wait_for(sub { taken($holds_up->socket) }, undef, 'the worker');
        $fake->release($limit);
        $t->wait_for(sub { Time::HiRes::time() > $over });
        1 while sysread $PIPE, my $bytes, 65536;

        my $late = $limit eq $HASTY;

        is(outcome($gated->response),
           $late ? '503 store_unavailable' : '200 ok',
           'R16: a reply behind its time: ' . ($late ? 'none' : 'or within'));
        is($t->upstream_connections, $before + !$late,
           '... and the tenant API is asked accordingly');
        $fake->rules;
        is(settled($dead), '401 not_live', '... and the next has its own');
    }
}

# Order is all that says whose a reply is.
sub replies_of_others {
    hastily();
    $fake->rules(rule(qr/^GETEX /, [ 'wait', 'too late' ], [ 'reply' ]));
    $fake->forget;

    is(outcome(knock(another())), '503 store_unavailable',
       'R12: a look-up that is given up');

    my ($first) = $fake->seen(qr/^GETEX /);

    $fake->rules;
    $fake->release('too late');
    is(settled($dead), '401 not_live', '... lends nobody its answer');
    isnt(($fake->seen(qr/^GETEX /))[-1][0], $first->[0],
         '... because the connection is another one');

    patiently();

    for my $case ([ another(), $dead, '401 not_live' ],
                  [ $dead, another(), '200 ok' ])
    {
        my ($mine, $other, $outcome) = @$case;
        my $name = "R12: $outcome behind another's answer";

        $fake->rules({ match => qr/^GETEX /, times => 1,
                       play => [ [ 'wait', $name ], [ 'reply' ] ] });
        $fake->forget;
        records();

        my $leaves = $t->http_start('GET', $MAIL, token => $mine);
        $fake->await(qr/^HGET /);
        $leaves->close;
        $t->wait_for(sub { records() }, undef, 'the client to leave');

        my $stays = $t->http_start('GET', $MAIL, token => $other);
        $fake->await(qr/^HGET /, 2);
        $fake->release($name);

        is(outcome($stays->response), $outcome, $name);
    }
}

sub surplus {
    patiently();

    my $settle = sub {
        is(settled(another()), '200 ok', '... until there is a new connection');
        is(outcome(knock($dead)), '401 not_live', '... with the right order');
    };

    is(settled(another()), '200 ok', 'a connection in good order');

    for my $bytes ("+OK\r\n", "\$4\r\nli", '+') {
        my ($number) = $fake->connections('gate');
        my $length = length $bytes;

        $fake->say('gate', $bytes);
        $t->wait_for(sub {
            my ($now) = $fake->connections('gate');
            return defined $now && $now > $number;
        }, undef, 'another connection');
        is(settled(another()), '200 ok',
           "$length bytes too many end the connection");
    }

    # both arrive while the worker does nothing, in either order
    for my $order ([ 'reply', 'request' ], [ 'request', 'reply' ]) {
        patiently();

        my $before = $t->upstream_connections;
        my $client = $t->http_connect;
        my %arrives = (
            reply => sub {
                $fake->say('gate', $LIVE . $APPROVED);
                $fake->connections('gate');
            },
            request => sub {
                $client->request('GET', $MAIL, token => $dead);
            },
        );

        # so that it has been accepted
        $client->request('GET', '/plain', keepalive => 1)->response;

        halted(worker(), sub { $arrives{$_}->() for @$order });

        is(outcome($client->response), '503 store_unavailable',
           "R12: a $order->[0] before a $order->[1] that it is not for");
        is($t->upstream_connections, $before, '... and nobody is let in');
        $settle->();
    }

    patiently();
    $fake->rules(answers("$LIVE$APPROVED+OK\r\n"));
    is(outcome(knock(another())), '200 ok', 'R12: a reply behind the right ones');
    $fake->rules;
    $settle->();

    patiently();
    refused('R12: the live key, twice', rule(qr/^GETEX /, $LIVE, $LIVE));
}

# R17: by hand for a minute, LOCKBOX_FLAP_SECONDS=60.
sub flapping {
    patiently();
    is(settled(another()), '200 ok', 'before the connection comes and goes');

    my $pid = worker();
    my ($descriptors, $memory) = (descriptors($pid), memory($pid));
    my $end = Time::HiRes::time() + ($ENV{LOCKBOX_FLAP_SECONDS} // 2);
    my %outcomes;

    while (Time::HiRes::time() < $end) {
        for my $state ('refuse', 'accept') {
            my $until = Time::HiRes::time() + 0.1;

            $fake->$state;
            $outcomes{ outcome(knock($_)) }++ for another(), $dead;
            $t->wait_for(sub { Time::HiRes::time() > $until });
        }
    }

    delete @outcomes{'200 ok', '401 not_live', '503 store_unavailable'};
    is(join(' ', %outcomes), '', 'R17: while it does, nothing new is said');
    is(settled(another()), '200 ok', '... and it ends well');
    is(worker(), $pid, '... in the same worker');
    $t->wait_for(sub { descriptors($pid) <= $descriptors }, undef,
                 'its descriptors to be closed');
    cmp_ok(memory($pid), '<', $memory + 512, '... which has not grown');
}

# A command is made of lengths and bytes; what could break one cannot be in a
# grant that is taken.
sub injection {
    my @texts = ('ac me', "acme\r\nFLUSHALL", "acme\n", '{acme}', 'acme}',
                 'ac%sme', 'acme%b', 'acme:x', '*', '', "acme\0", 'a' x 65,
                 "acm\x{e9}");

    patiently();

    for my $text (@texts) {
        my $name = JSON::PP->new->ascii->allow_nonref->encode($text);

        $fake->forget;
        is(outcome(knock($t->grant(live => 0, tenant => $text,
                                   access => [ mail() ]))),
           '401 malformed_token', "R23: the tenant $name");
        is(outcome(knock($t->grant(live => 0, id => $text))),
           '401 malformed_token', "... the id $name");
        is(scalar asked(), 0, '... and Redis hears nothing of it');
    }

    my %segments = (
        'ac%20me' => '403 wrong_tenant', '%7Bacme%7D' => '403 wrong_tenant',
        '*' => '403 wrong_tenant', 'ac%0d%0ame' => '400 ambiguous_target',
        'ac%25sme' => '400 ambiguous_target',
    );

    for my $segment (sort keys %segments) {
        $fake->forget;
        is(outcome(knock(another(), 'GET', "/tenants/$segment/mail/inbox")),
           $segments{$segment}, "R23: $segment in a target");
        is(outcome(ask('engineer', 'POST',
                       "/lockbox/v1/tenants/$segment/requests",
                       json => filing())),
           '404 not_found', '... and of the API');
        is(scalar grep({ /\Q$segment\E|ac me|acme\}[^:]/ }
                       map { Test::Lockbox::FakeRedis::words($_) } asked()),
           0, '... is not for Redis');
    }

    is(outcome(knock($t->grant)), '200 ok', 'a grant in good order');
}

sub mail {
    return { service => 'mail', methods => ['GET'],
             paths => ['/tenants/acme/mail/'] };
}


# The admin API

sub the_admin_api {
    patiently();
    is(settled(another()), '200 ok', 'a Redis in good order');

    shapes();
    lists();
    lost_replies();
    no_script();
    a_queue_of_its_own();
    texts();
    the_sweep();
}

# An array of arrays and texts, as a reply; a reference is a reply already.
sub reply {
    my ($value) = @_;

    return $$value if ref $value eq 'SCALAR';
    return '$' . length($value) . "\r\n$value\r\n" if !ref $value;
    return join '', '*' . @$value . "\r\n", map { reply($_) } @$value;
}

sub shapes {
    my $waiting = file();
    my $approved = approved();

    # a call, and the step of the script at which it goes wrong
    my %calls = (
        file => [ file => \&filed ],
        'file, at the policy' => [ policy => \&filed ],
        'set a policy' => [ set_policy => \&policy_set ],
        'set a policy, at the look' => [ policy => \&policy_set ],
        'show a policy' => [ policy => sub { ask('customer', 'GET',
                                                 $POLICY) } ],
        show => [ show => sub { act('engineer', 'show', $waiting) } ],
        'approve, at the look' => [ show => sub { approval($waiting) } ],
        'approve, at the policy' => [ policy => sub { approval($waiting) } ],
        approve => [ approve => sub { approval($waiting) } ],
        cancel => [ cancel => sub { act('engineer', 'cancel', $waiting) } ],
        revoke => [ revoke => sub { act('customer', 'revoke', $approved) } ],
        complete => [ complete => sub { act('engineer', 'complete',
                                            $approved) } ],
        collect => [ grant => sub { act('engineer', 'grant', $approved) } ],
    );

    for my $call (sort keys %calls) {
        unusable($call, @{ $calls{$call} }, \%WRONG_REQUEST);
    }

    # a filing is no request yet that anything could be said about
    $fake->forget;
    $fake->rules(rule(qr/^EVALSHA \S+ 0 file /,
                      reply([ 'stale_policy', [], [] ])));
    is(outcome(filed()), '503 internal_error',
       'a policy that is always another one');
    is(scalar(() = $fake->seen(qr/^EVALSHA \S+ 0 file /)), 3,
       '... is not waited for for ever');
    $fake->rules;

    is(outcome(filed()), '201 ok', 'and then it is filed');
    is(outcome(policy_set()), '200 ok', 'and the policy set');
    is(outcome(approval($waiting)), '200 ok', 'and then it is approved');
    is(outcome(act('engineer', 'grant', $approved)), '200 ok', 'collected');
    is(outcome(act('customer', 'revoke', $approved)), '200 ok', 'and revoked');
}

sub filed {
    return ask('engineer', 'POST', $REQUESTS, json => filing());
}

sub policy_set {
    return ask('customer', 'PUT', $POLICY,
               json => { version => 0, policy => {} });
}

sub approval {
    my ($id) = @_;

    return act('manager', 'approve', $id, { version => 1 });
}

sub unusable {
    my ($call, $step, $work, $replies) = @_;

    my $before = contents();
    my @wrong;

    for my $name (sort keys %$replies) {
        $fake->rules(rule(qr/^EVALSHA \S+ 0 $step /,
                          reply($replies->{$name})));
        my $outcome = outcome($work->());
        push @wrong, "$name: $outcome"
            if $outcome ne '503 store_unavailable';
    }

    $fake->rules;

    is("@wrong", '', "no usable reply to $call");
    is_deeply(contents(), $before, '... and nothing has changed');
}

sub lists {
    file();

    my $work = sub { ask('manager', 'GET', '/lockbox/v1/requests') };

    unusable('list', 'list', $work, \%WRONG_LIST);
    is(outcome($work->()), '200 ok', 'and then it is listed');

    $work = sub { ask('customer', 'GET', '/lockbox/v1/tenants/acme/audit') };

    unusable('audit', 'audit', $work, \%WRONG_AUDIT);
    is(outcome($work->()), '200 ok', 'and then it is read');

    $work = sub { ask('manager', 'GET', '/lockbox/v1/events') };

    unusable('events', 'events', $work, \%WRONG_EVENTS);
    is(outcome($work->()), '200 ok', 'and then they are told');
}

# What was sent may have happened; whoever asks again finds out.
sub lost_replies {
    my $step = qr/^EVALSHA \S+ 0 approve /;
    my $back = sub {
        my ($id) = @_;

        $fake->rules;

        return settled(sub { act('engineer', 'show', $id) });
    };

    for my $length (0, 1, 10, 100) {
        patiently();
        my $id = file();
        $fake->rules(rule($step, [ 'reply', $length ], [ 'close' ]));

        is(outcome(approval($id)), '503 store_unavailable',
           "R15: a step, closed behind $length bytes of the reply");
        is($back->($id), '200 ok', '... is found again');
        is(stored($id)->{state}, 'awaiting_customer', '... as taken');

        my $again = approval($id);

        is(outcome($again), '409 conflict', '... and only once');
        is($again->json->{state}, 'awaiting_customer', '... which is said');
    }

    for my $bytes ('', '*3', "*3\r\n\$2\r\nok\r\n*2\r\n\$2\r\nid\r\n") {
        patiently();
        my $id = file();
        my $before = contents();
        $fake->rules(rule($step, $bytes, [ 'close' ]));

        is(outcome(approval($id)), '503 store_unavailable',
           'R15: a step that did not happen');
        is($back->($id), '200 ok', '... is found again');
        is_deeply(contents(), $before, '... as not taken');
        is(outcome(approval($id)), '200 ok', '... and can be');
    }

    for my $bytes ('', "*3\r\n\$2\r\nok\r\n") {
        hastily();
        my $id = file();
        my $before = contents();
        $fake->rules(rule($step, $bytes));

        is(outcome(approval($id)), '503 store_unavailable',
           'R14: a step without a reply');
        is($back->($id), '200 ok', '... is found again');
        is_deeply(contents(), $before, '... as not taken');
        is(outcome(approval($id)), '200 ok', '... and can be');
    }

    patiently();
    my $id = file();
    $fake->rules(rule($step, reply([ 'ok' ]) . "\x15\x03\x03"));
    is(outcome(approval($id)), '503 store_unavailable',
       'R07: a reply with a TLS alert behind it');
    is($back->($id), '200 ok', '... is found again');

    hastily();
    my $mine = file();
    $fake->rules({ match => $SHOW, times => 1,
                   play => [ [ 'wait', 'nobody' ], [ 'reply' ] ] });
    is(outcome(act('engineer', 'show', $mine)), '503 store_unavailable',
       'R12: a call that is given up');
    $fake->release('nobody');
    is($back->($id), '200 ok', '... lends nobody its answer');
    is(act('engineer', 'show', $id)->json->{id}, $id, '... nor later');
}

sub no_script {
    patiently();

    my $id = file();
    my @none = (rule(qr/^EVAL(SHA)? /, "-NOSCRIPT No matching script.\r\n"));

    redis('SCRIPT', 'FLUSH');
    is(outcome(act('engineer', 'show', $id)), '200 ok',
       'a script that Redis has forgotten is sent again');

    $fake->forget;
    $fake->rules(@none);
    is(outcome(act('engineer', 'show', $id)), '503 store_unavailable',
       'a script that Redis does not take');
    $fake->rules;
    is(scalar $fake->seen(qr/^EVAL \S.* 0 show /s), 1, '... is sent once');
    is(outcome(act('engineer', 'show', $id)), '200 ok', '... and then works');
}

sub a_queue_of_its_own {
    my $id = file();

    $fake->rules(rule($SHOW, [ 'wait', 'slow' ], [ 'reply' ]));
    $fake->forget;

    my $slow = $t->http_start('GET', uri($id), token => token_of('engineer'));
    $fake->await($SHOW);

    is(outcome(knock(another())), '200 ok', 'a slow script delays no look-up');
    $fake->release('slow');
    is(outcome($slow->response), '200 ok', '... and comes to its end');
    $fake->rules;

    $fake->rules(rule(qr/^GETEX /, [ 'wait', 'gate' ], [ 'reply' ]));
    $fake->forget;

    my $gated = $t->http_start('GET', $MAIL, token => another());
    $fake->await(qr/^HGET /);

    is(outcome(act('engineer', 'show', $id)), '200 ok',
       'nor a slow look-up a script');
    $fake->release('gate');
    is(outcome($gated->response), '200 ok', '... and comes to its end');
    $fake->rules;
}

# What people write goes to Redis and back as it is.
sub texts {
    my @texts = (
        "%b %s %n %d %%\n*1\n\$8\nFLUSHALL\n",
        '{acme} }:request:{x} $1 \\r\\n \\ " \' ; | & `',
        "\$-1\n:1\n+OK\n-ERR no\n",
        "\x{20ac} \x{1f511} \x{e9} \x{fffd} and so on", 'x' x 2000,
    );

    for my $text (@texts) {
        my $id = file(justification => $text, ticket => '%b%s');
        my $name = JSON::PP->new->ascii->allow_nonref->encode(
            substr $text, 0, 20);
        my $bytes = $text;

        utf8::encode($bytes);
        is(stored($id)->{justification}, $bytes, "R23: $name is stored");
        is(act('manager', 'show', $id)->json->{justification}, $text,
           '... and shown');
        is(act('manager', 'show', $id)->json->{ticket}, '%b%s',
           '... and a ticket, too');
    }

    $fake->forget;
    is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing(
           justification => "two lines\r\nFLUSHALL\r\n"))),
       '400 invalid_member', 'R23: no carriage return is taken');
    is(scalar $fake->seen(qr/^EVAL.* file /s), 0, '... nor sent');

    my $id = file();
    approve('manager', $id, comment => "%b\n%s {acme}");
    is(act('engineer', 'show', $id)->json->{decisions}[-1]{comment},
       "%b\n%s {acme}", 'R23: nor does a comment change');
}

# It asks every few seconds, whatever it was told before.
sub the_sweep {
    my $id = file();
    my $due = qr/^EVALSHA \S+ 0 due /;

    $fake->forget;
    $fake->rules(rule($due, reply([ 'ok', [ [ 'acme', \":1\r\n" ] ] ])));
    $fake->await($due);

    make_due($id);
    $fake->rules(rule(qr/^EVALSHA \S+ 0 sweep /, "+ok\r\n"));
    $fake->await(qr/^EVALSHA \S+ 0 sweep /);
    is(stored($id)->{state}, 'awaiting_manager',
       'a sweep that Redis does not let do its work');

    $fake->rules;
    $t->wait_for(sub { stored($id)->{state} eq 'lapsed' }, undef,
                 'the sweep');
    pass('... does it the next time');
}


# Redis itself

sub the_real_one {
    anew("redis.sock $PATIENT");

    wrong_types();
    no_password();
    no_replicas();
    no_disk();
    full();
    evicted();
    persisted();
    flushed();
}

sub shut {
    my ($name, $id) = @_;

    my $before = contents();

    is(outcome(knock(another())), '503 store_unavailable', "$name: no access");
    is(outcome(act('customer', 'revoke', $id)), '503 store_unavailable',
       '... and no step');
    is_deeply(contents(), $before, '... half done');
}

sub open_again {
    my ($id) = @_;

    is(settled(another()), '200 ok', '... and it works again');
    is(settled(sub { act('customer', 'revoke', $id) }), '200 ok',
       '... altogether');
}

sub wrong_types {
    my $id = Test::Lockbox::Conf::uuid7();
    my $token = $t->grant(id => $id);

    is(outcome(knock($token)), '200 ok', 'a live key');

    redis('DEL', live_key($id));
    redis('RPUSH', live_key($id), 'live');
    is(eventually($token, '503 store_unavailable'), '503 store_unavailable',
       'R06: a live key that is a list');

    redis('DEL', live_key($id));
    redis('SET', live_key($id), 'live');
    redis('SET', request_key($id), 'approved');
    is(eventually($token, '503 store_unavailable'), '503 store_unavailable',
       'R06: a request that is a text');

    redis('DEL', request_key($id));
    redis('HSET', request_key($id), 'state', 'approved');
    is(outcome(knock($token)), '200 ok', '... and as it must be');

    redis('DEL', request_key($id), live_key($id));
}

sub no_password {
    my $id = approved();

    redis('CONFIG', 'SET', 'requirepass', 'sesame');
    redis('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');

    my $before = contents();

    $t->wait_for(sub { $t->read_file('error.log') =~ /is back in service/ },
                 undef, 'a new connection');
    is(outcome(knock(another())), '503 store_unavailable',
       'R02: a Redis that wants a password');
    is(outcome(act('customer', 'revoke', $id)), '503 store_unavailable',
       '... takes no step');
    is_deeply(contents(), $before, '... half done');

    redis('CONFIG', 'SET', 'requirepass', '');
    open_again($id);
}

# A primary that was cut off from all replicas must not go on by itself.
sub no_replicas {
    my $id = approved();

    redis('CONFIG', 'SET', 'min-replicas-to-write', 1);
    shut('R18: a primary on its own', $id);

    redis('CONFIG', 'SET', 'min-replicas-to-write', 0);
    open_again($id);
}

sub no_disk {
    my $saved = save_all();
    my $gone = $t->testdir . '/gone';

    mkdir $gone or die "$gone: $!\n";
    $t->redis_stop;
    $t->redis(options => [ '--dir', $gone ]);
    reconnect();
    load_all($saved);
    redis('CONFIG', 'SET', 'save', '3600 1');
    is(settled(another()), '200 ok', 'after Redis was started anew');
    is(settled(sub { ask('engineer', 'GET', $REQUESTS) }), '200 ok',
       '... for the API, too');

    my $id = approved();

    rmdir $gone or die "$gone: $!\n";
    redis('BGSAVE');
    $t->wait_for(sub {
        redis('INFO', 'persistence') =~ /rdb_last_bgsave_status:err/;
    }, undef, 'a snapshot that fails');

    shut('R04: a Redis that cannot save', $id);

    redis('CONFIG', 'SET', 'save', '');
    open_again($id);
}

# Nothing may be written, and nothing is lost.
sub full {
    my $id = approved();

    redis('CONFIG', 'SET', 'maxmemory', 1);

    my $before = contents();

    is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing())),
       '503 store_unavailable', 'R20: a full Redis takes no request');
    is_deeply(contents(), $before, '... nor half of one');
    is(outcome(knock(another())), '200 ok', '... and lets in who may be');

    redis('CONFIG', 'SET', 'maxmemory', 0);
    open_again($id);
}

# A live key that had to go is a grant that is over.
sub evicted {
    my $id = approved();
    my $token = collect($id);
    my ($used) = redis('INFO', 'memory') =~ /^used_memory:(\d+)/m;

    is(outcome(knock($token)), '200 ok', 'a grant');

    redis('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    redis('CONFIG', 'SET', 'maxmemory', $used + 100_000);

    for my $i (1 .. 10_000) {
        redis('SET', "junk:$i", 'x' x 1000);
        last if !redis('EXISTS', live_key($id));
    }

    like(eventually($token, qr/^401 (not_live|expired)$/), qr/^401 /,
         'R20: an evicted live key opens nothing');

    redis('CONFIG', 'SET', 'maxmemory', 0);
    like(outcome(knock($token)), qr/^401 /, '... nor when there is room');
    redis('FLUSHALL');
}

sub persisted {
    my %options = (iat => time - 100, live => 0);
    my @ids = map { Test::Lockbox::Conf::uuid7() } 1 .. 2;

    redis('SET', live_key($_), 'live') for @ids;

    is(outcome(knock($t->grant(%options, id => $ids[0], life => 99))),
       '401 expired', 'R21: a live key without an end prolongs nothing');
    is(outcome(knock($t->grant(%options, id => $ids[1], life => 300))),
       '200 ok', '... within the life of the grant');

    my $id = Test::Lockbox::Conf::uuid7();
    my $token = $t->grant(id => $id, life => 2);

    redis('PERSIST', live_key($id));
    eventually($token, '401 expired');
    is(redis('GET', live_key($id)), 'live', '... nor is it over by itself');
}

sub flushed {
    my $id = approved();
    my $token = collect($id);

    is(outcome(knock($token)), '200 ok', 'a grant');

    redis('FLUSHALL');
    is(eventually($token, '401 not_live'), '401 not_live',
       'R19: it ends with FLUSHALL');
    is(outcome(act('engineer', 'grant', $id)), '404 not_found',
       '... cannot be collected again');
    is(outcome(act('customer', 'revoke', $id)), '404 not_found',
       '... nor revoked');
    is(redis('EXISTS', live_key($id)), 0, '... and does not spring back');
    is(outcome(knock($token)), '401 not_live', '... for anybody');
    is(outcome(knock(collect(approved()))), '200 ok', 'another one works');
}
