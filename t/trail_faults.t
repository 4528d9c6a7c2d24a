#!/usr/bin/perl

# Why: a copy of the audit log that loses, doubles or mixes up records while
# Redis is not well would be worse than none.  Whatever Redis says or does not
# say, each record gets there once and in order, or its place is marked; and
# neither requests nor a worker that goes wait for it.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;
use Test::Lockbox::Trail;

my $PATIENT = 'timeout=60s connect_timeout=60s';
my $HASTY = 'timeout=300ms connect_timeout=300ms';

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t);

begin($t, through("fake.sock $PATIENT"));
file();

answers();
refusals();
forgotten();
silence();
something_else();
full();
no_rights();
away();
quit();

done_testing();


sub through {
    my ($redis) = @_;

    return (directives => { lockbox_redis => "unix:%%TESTDIR%%/$redis" });
}

sub rule {
    my (@steps) = @_;

    return { match => $SHIPS, play => \@steps };
}

# A refusal that somebody known gets: two, so that order shows.
sub records_more {
    knock($t->grant(live => 0)) for 1 .. 2;
    settle();
}

sub logged {
    my ($pattern) = @_;

    my @lines = $t->read_file('error.log') =~ /$pattern/g;

    return scalar @lines;
}


# The batch may have been appended, and may not.
sub answers {
    my %answers = (
        'none'             => [ [ 'reply', 0 ], [ 'close' ] ],
        'half of one'      => [ [ 'reply', 1 ], [ 'close' ] ],
        'none, and no try' => [ [ 'close' ] ],
        'a text'           => [ "\$2\r\nOK\r\n" ],
        'a status'         => [ "+OK\r\n" ],
        'a list'           => [ "*1\r\n:0\r\n" ],
        'nil'              => [ "\$-1\r\n" ],
        'garbage'          => [ "HTTP/1.1 200 OK\r\n" ],
    );

    for my $name (sort keys %answers) {
        $fake->rules({ %{ rule(@{ $answers{$name} }) }, times => 2 });
        $fake->forget;
        records_more();
        $fake->await($SHIPS, 3);
        complete('acme', "an answer that is $name: each record, once");
    }

    $fake->rules;
}

# Nothing has happened, and all is tried again until it does.
sub refusals {
    my %refusals = (
        LOADING  => 'Redis is loading the dataset in memory',
        READONLY => "You can't write against a read only replica.",
        OOM      => "command not allowed when used memory > 'maxmemory'.",
        MISCONF  => 'Redis is configured to save RDB snapshots',
        NOPERM   => 'this user has no permissions',
    );

    for my $word (sort keys %refusals) {
        $fake->rules(rule("-$word $refusals{$word}\r\n"));
        $fake->forget;
        records_more();
        $fake->await($SHIPS, 3);
        is(logged(qr/does not take audit records: $word/), 1,
           "$word is said once");
        records_more();
        $fake->rules;
        complete('acme', '... and afterwards each record is there, once');
    }
}

# Redis may forget scripts at any time.
sub forgotten {
    records_more();
    complete('acme', 'while Redis has the script');
    $fake->forget;
    records_more();
    $fake->await($SHIPS, 1);
    complete('acme', '... which is named');
    is(scalar $fake->seen(qr/^EVAL -- Appends/), 0, '... and not sent again');

    redis('SCRIPT', 'FLUSH');
    $fake->forget;
    records_more();
    complete('acme', 'a script that Redis has forgotten: each record, once');
    is(scalar $fake->seen(qr/^EVAL -- Appends/), 1, '... is sent once');

    # no answer to the whole script
    $fake->rules(rule("-NOSCRIPT No matching script.\r\n"));
    $fake->forget;
    records_more();
    $fake->await($SHIPS, 4);
    is(logged(qr/does not take audit records: NOSCRIPT/), 1,
       'a Redis that wants no script is said once');
    $fake->rules;
    complete('acme', '... and then each record is there, once');
}

# Redis has the batch, and says nothing until the worker has given up.
sub silence {
    change_conf(through("fake.sock $HASTY"));
    $fake->rules({ %{ rule([ 'reply', 0 ], [ 'wait', 'talk' ]) },
                   times => 1 });
    $fake->forget;
    records_more();
    $fake->await($SHIPS, 2);
    complete('acme', 'an answer that does not come: each record, once');
    $fake->release('talk');
    $fake->rules;
    change_conf(through("fake.sock $PATIENT"));
}

sub something_else {
    my $key = stream_key('globex');

    redis('SET', $key, 'mine');
    file(tenant => 'globex');
    records_more();
    complete('acme', 'something else in one place: others get theirs');
    cmp_ok(logged(qr/records did not get to their streams, in whose place/),
           '>', 0, '... it is said');
    is(redis('GET', $key), 'mine', '... and it stays');
    redis('DEL', $key);
}

# More than a worker can keep: the rest is marked.
sub full {
    my $before = () = complete_last('acme');
    my @long = ('/tenants/acme/mail/' . 'x' x 1000,
                headers => { 'User-Agent' => "\xe2\x80\xae" x 340 });
    my $grant = $t->grant(live => 0);

    $fake->rules(rule("-LOADING for long\r\n"));
    knock($grant, 'GET', @long) for 1 .. 1300;
    settle();

    my $made = lines_of($t, 'acme') - $before;

    is(scalar trail('acme'), $before, 'nothing arrives');
    $fake->rules;
    $t->wait_for(sub {
        my @entries = entries('acme');
        return grep { $_->{'event.action'} eq 'gap' } @entries;
    }, undef, 'a mark');

    my @new = map { $_->{record} } trail('acme');
    splice @new, 0, $before;
    my ($gap) = map { JSON::PP->new->utf8->decode($_) }
                grep { /"event.action":"gap"/ } @new;
    my @kept = grep { !/"event.action":"gap"/ } @new;
    my @lines = lines_of($t, 'acme');
    splice @lines, 0, $before;

    cmp_ok($gap->{'lockbox.lost'}, '>', 0, 'a full buffer is a gap');
    is(@kept + $gap->{'lockbox.lost'}, $made, '... of so many');
    ok("@kept" eq "@lines[0 .. $#kept]", '... behind those that were kept');

    my ($first, $last) = map { /"\@timestamp":"([^"]+)"/ ? $1 : '' }
                             @lines[scalar @kept, -1];

    is($gap->{'lockbox.lost_since'}, $first, '... since the first one');
    is($gap->{'lockbox.lost_until'}, $last, '... until the last one');

    records_more();
    my $end = (lines_of($t, 'acme'))[-1];
    $t->wait_for(sub { (trail('acme'))[-1]{record} eq $end }, undef,
                 'records behind the gap');
    pass('and then all is well again');

    # its lines do not match any more
    redis('DEL', stream_key('acme'));
    unlink $t->testdir . '/audit.log';
    $t->signal('USR1');
    $t->wait_for(sub { $t->has_file('audit.log') }, undef, 'a new log');
    file();
    complete('acme', '... in another log');
}

# A right that is missing stops all of a batch, or a part would come twice.
sub no_rights {
    for my $command (qw(xadd xtrim pexpire hset hdel eval)) {
        my $before = logged(qr/does not take audit records/);

        redis('ACL', 'SETUSER', 'lockbox', 'reset', 'on', '>sesame',
              'allchannels', '~*', '+@all', "-$command");
        $t->write_file('password', "sesame\n");
        change_conf(through('redis.sock user=lockbox '
                            . 'password_file=%%TESTDIR%%/password'));

        my $entries = trail('acme');

        records_more();
        $t->wait_for(sub {
            logged(qr/does not take audit records/) > $before;
        }, undef, 'a complaint');
        is(scalar trail('acme'), $entries, "no right to $command: nothing");
        redis('ACL', 'SETUSER', 'lockbox', "+$command");
        complete('acme', '... and then all, once');
    }
}

# The door is shut without Redis; who was turned away is on record later.
sub away {
    change_conf(through('redis.sock'));

    my $grant = collect(approved());

    complete('acme', 'before Redis goes');
    redis('SAVE');
    $t->redis_stop;
    $t->wait_for(sub { knock($grant)->status == 503 }, undef, 'a shut door');
    is(outcome(knock($grant)), '503 store_unavailable', 'Redis is away')
        for 1 .. 3;

    $t->redis;
    reconnect();
    complete('acme', 'it is back, and so is what happened meanwhile');
    is((grep { ($_->{'event.reason'} // '') eq 'store_unavailable' }
        entries('acme'))[0]{'organization.id'}, 'acme',
       '... those who were turned away, too');
}

# A worker that goes does not wait for ever.
sub quit {
    my ($worker) = workers();

    $t->{redis}->signal('STOP');
    knock(undef);
    ok($t->stop, 'nginx stops while Redis stands still');
    $t->{redis}->signal('CONT');

    cmp_ok(logged(qr/bytes of audit records may not have got/), '>', 0,
           '... says so');
    reconnect();
    ok((grep { $_ eq $worker } workers()), '... and is known to be missing');
}
