#!/usr/bin/perl

# Why: what is cached is believed for as long as the watch hears of each
# change, and one lease longer.  Whatever happens to that hearing, or to
# Redis, a grant that is over is refused, and one that is not is let in as
# soon as Redis can be asked.

use strict;
use warnings;

use Time::HiRes ();

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::FakeRedis;

my $t = Test::Lockbox->new;
my $fake = Test::Lockbox::FakeRedis->new($t);

# short, for it has to pass a few times
my $LEASE = 0.4;

my %FAKED = (directives => {
    lockbox_redis => 'unix:%%TESTDIR%%/fake.sock timeout=60s',
    lockbox_lease => 1000 * $LEASE . 'ms',
});
my %DIRECT = (directives => { lockbox_lease => 1000 * $LEASE . 'ms' });

begin($t, %FAKED);

subscribing();
answers_out_of_order();
answers_held_back();
swallowed();
refused();
unusable();
answered_too_late();

change_conf(%DIRECT);

changes();
another_redis();
restarted();
demoted();
failed_over();
ended_while_asked();

done_testing;


sub rule {
    my ($match, @steps) = @_;

    return { match => $match, play => \@steps };
}

# How often Redis was asked since the last call.
sub asked {
    my $count = () = $fake->seen(qr/^GETEX /);

    $fake->forget;

    return $count;
}

sub said {
    my ($grant) = @_;

    # a request that was let in while the change was on its way is cut
    return eval { outcome(knock($grant)) } // 'cut';
}

# A request that Redis was not asked for.
sub unasked {
    my ($grant) = @_;

    asked();

    return said($grant) eq '200 ok' && asked() == 0;
}

sub trusting {
    my $grant = $t->grant;

    $t->wait_for(sub { unasked($grant) }, undef, 'trust');
}

# Redis is asked for each request once the lease is over.
sub distrusting {
    my ($name, $grant) = @_;

    past_the_lease();
    asked();
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ('200 ok') x 3 ],
              "$name: requests are let in");
    cmp_ok(asked(), '>=', 3, '... but Redis is asked for each');
}

# A grant that is known, and its id.
sub known {
    my (%options) = @_;

    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id, %options);

    trusting();
    said($grant);

    return ($id, $grant);
}

# In the end, and from then on.
sub becomes {
    my ($grant, $want, $name) = @_;

    my $said;

    $t->wait_for(sub { ($said = said($grant)) eq $want }, undef,
                 "$name: $want");
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ($want) x 3 ],
              "$name: $want");
}

# What was trusted when this is called is trusted no more when it returns.
sub past_the_lease {
    my $until = Time::HiRes::time() + 3 * $LEASE;

    $t->wait_for(sub { Time::HiRes::time() > $until }, undef, 'a lease');
}

# Makes the watch anew.
sub drop_watch {
    my (@rules) = @_;

    $fake->forget;
    $fake->rules(@rules);
    $fake->say('watch', [ 'close' ]);
}


sub subscribing {
    my ($id, $grant) = known();

    # what changes before the subscription is confirmed nobody tells
    drop_watch(rule(qr/^SUBSCRIBE /, [ 'wait', 'subscribe' ], [ 'reply' ]));
    $fake->await(qr/^SUBSCRIBE /);
    past_the_lease();
    said($grant);
    redis('DEL', live_key($id));
    $fake->release('subscribe');
    $fake->await(qr/^PING/, 3);
    is(said($grant), '401 not_live',
       'a change between TRACKING and SUBSCRIBE');
    is((() = $fake->seen(qr/^MESSAGE .*$id/)), 0, '... of which nobody heard');
    $fake->rules;

    # one that Redis tells of at once is not missed
    ($id, $grant) = known();
    redis('DEL', live_key($id));
    becomes($grant, '401 not_live', 'a change that is told');
    cmp_ok((() = $fake->seen(qr/^MESSAGE .*$id/)), '<=', 1, '... once');

    # while there is no watch, for as long as that lasts
    ($id, $grant) = known();
    drop_watch(rule(qr/^CLIENT ID/, [ 'wait', 'id' ], [ 'reply' ]));
    $fake->await(qr/^CLIENT ID/);
    distrusting('no watch', $grant);
    redis('DEL', live_key($id));
    is(said($grant), '401 not_live', '... and a change counts at once');
    $fake->release('id');
    $fake->rules;
    trusting();
    pass('a watch that is there again is trusted again');
}

# Redis answers what it hears in a turn before it tells what has changed in it.
sub answers_out_of_order {
    my ($id, $grant) = known();

    $fake->rules(rule(qr/^MESSAGE .*$id/));
    redis('DEL', live_key($id));
    $fake->await(qr/^MESSAGE .*$id/);
    $fake->forget;
    $fake->await(qr/^PING/, 2);

    my $key = live_key($id);

    $fake->say('watch', "*3\r\n\$7\r\nmessage\r\n\$20\r\n"
               . "__redis__:invalidate\r\n*1\r\n\$" . length($key)
               . "\r\n$key\r\n");
    becomes($grant, '401 not_live', 'a message that a PONG has overtaken');
    $fake->rules;
}

sub answers_held_back {
    for my $command ('PING', 'DEL lockbox:heartbeat') {
        my ($id, $grant) = known();

        $fake->forget;
        $fake->rules(rule(qr/^$command/, [ 'wait', $command ], [ 'reply' ]));
        $fake->await(qr/^$command/);

        if ($command eq 'PING') {
            distrusting('a PONG that is held back', $grant);
            $fake->release($command);
        } else {
            # it holds back all that is behind it
            past_the_lease();

            my $client = $t->http_start('GET', $MAIL, token => $grant);

            $fake->await(qr/^GETEX .*$id/);
            pass('a write that is held back: Redis is asked');
            $fake->release($command);
            is(outcome($client->response), '200 ok', '... and answers');
        }

        $fake->rules;
        trusting();
        is(said($grant), '200 ok', '... and then all is well');
    }
}

# The other side of the connection is gone, and nobody says so.
sub swallowed {
    my ($id, $grant) = known();

    $fake->rules(rule(qr/^(?:MESSAGE|PING)/));
    redis('HSET', request_key($id), 'state', 'revoked');
    redis('DEL', live_key($id));
    past_the_lease();
    is_deeply([ map { said($grant) } 1 .. 3 ], [ ('401 revoked') x 3 ],
              'a watch that hears nothing is trusted no longer than a lease');

    distrusting('while it lasts', $t->grant);
    drop_watch();
    trusting();
    pass('a new one is trusted');
}

# What Redis may refuse, each with what the log says of it.
sub refused {
    my $noperm = "-NOPERM this user has no permissions\r\n";
    my $heartbeat = 'Redis refuses the heartbeat "DEL lockbox:heartbeat"';

    for my $case (
        [ 'CLIENT ID', $noperm, 'CLIENT ID refused' ],
        [ 'CLIENT TRACKING', $noperm, 'CLIENT TRACKING refused' ],
        [ 'CLIENT TRACKING', "-ERR unknown subcommand\r\n",
          'CLIENT TRACKING refused' ],
        [ 'SUBSCRIBE', $noperm, 'SUBSCRIBE refused' ],
        [ 'PING', $noperm, 'PING refused' ],
        [ 'PING', "+PONG\r\n", 'PING refused' ],
        [ 'CLIENT ID', "+1\r\n", 'CLIENT ID refused' ],
        [ 'CLIENT TRACKING', ":1\r\n", 'CLIENT TRACKING refused' ],
        [ 'SUBSCRIBE', "+OK\r\n", 'SUBSCRIBE refused' ],
        [ 'DEL lockbox:heartbeat', $noperm, $heartbeat ],
        [ 'DEL lockbox:heartbeat', "-READONLY\r\n", $heartbeat ],
    ) {
        my ($command, $reply, $fault) = @$case;
        my ($id, $grant) = known();
        my $from = length $t->read_file('error.log');
        my $name = "$command: " . $reply =~ s/\r\n//r;

        drop_watch(rule(qr/^$command/, $reply));
        $fake->await(qr/^$command/);
        distrusting($name, $grant);
        redis('DEL', live_key($id));
        is(said($grant), '401 not_live', '... and a change counts at once');

        my $text = $reply =~ s/^-|\r\n//gr;
        my @said;

        $t->wait_for(sub {
            @said = substr($t->read_file('error.log'), $from)
                =~ /\[error\].*: (?=\Q$fault\E)(.*)/g;
        }, undef, 'a word on it');

        like($said[0], $fault eq $heartbeat ? qr/: "\Q$text\E"/ : qr/"watch"/,
             '... the log says why');
        is(scalar @said, 1, '... once') if $fault eq $heartbeat;
        $fake->rules;
        trusting();
    }

    # a user without the channel
    my ($id, $grant) = known();

    redis(qw(ACL SETUSER default resetchannels));
    drop_watch();
    $fake->await(qr/^SUBSCRIBE /);
    distrusting('a user without the channel', $grant);
    redis(qw(ACL SETUSER default allchannels));
    trusting();
}

# Messages that are none: the watch is made anew, and nothing before counts.
sub unusable {
    for my $case (
        [ 'another channel', "*3\r\n\$7\r\nmessage\r\n\$1\r\nx\r\n*0\r\n" ],
        [ 'no channel', "*1\r\n\$7\r\nmessage\r\n" ],
        [ 'a number for keys', "*3\r\n\$7\r\nmessage\r\n"
          . "\$20\r\n__redis__:invalidate\r\n:1\r\n" ],
        [ 'a number for a key', "*3\r\n\$7\r\nmessage\r\n"
          . "\$20\r\n__redis__:invalidate\r\n*1\r\n:1\r\n" ],
        [ 'a surplus reply', "+OK\r\n" ],
        [ 'no RESP', "HTTP/1.1 400 Bad Request\r\n\r\n" ],
    ) {
        my ($name, $bytes) = @$case;
        my ($id, $grant) = known();

        $fake->forget;
        $fake->say('watch', $bytes);
        $fake->await(qr/^SUBSCRIBE /);
        trusting();
        asked();
        is(said($grant), '200 ok', "$name: the watch is made anew");
        is(asked(), 1, '... and what it knew is asked for again');
    }

    # all keys may have changed, and what is over stays so
    my ($id, $grant) = known();
    my ($ended, $revoked) = known();

    redis('HSET', request_key($ended), 'state', 'revoked');
    redis('DEL', live_key($ended));
    becomes($revoked, '401 revoked', 'an end');
    $fake->forget;
    $fake->say('watch', "*3\r\n\$7\r\nmessage\r\n"
               . "\$20\r\n__redis__:invalidate\r\n\$-1\r\n");
    $fake->await(qr/^PING/, 2);
    asked();
    is(said($grant), '200 ok', 'all keys may have changed');
    is(asked(), 1, '... and are asked for again');
    is(said($revoked), '401 revoked', '... but for what is over');
    is(asked(), 0, '... which stays so');
}

# Without a heartbeat nobody vouches for what Redis has said a lease ago.
sub answered_too_late {
    my $readonly = rule(qr/^DEL lockbox:heartbeat/, "-READONLY\r\n");
    my %outcomes = (
        1000 * $LEASE . 'ms' => '503 store_unavailable', '60s' => '200 ok',
    );

    for my $lease (sort keys %outcomes) {
        $fake->rules($readonly);
        change_conf(directives => {
            %{ $FAKED{directives} }, lockbox_lease => $lease,
        });

        my $id = Test::Lockbox::Conf::uuid7();
        my $grant = $t->grant(id => $id);

        $fake->rules($readonly, rule(qr/^GETEX .*$id/, [ 'wait', $lease ],
                                     [ 'reply' ]));

        my $before = $t->upstream_connections;
        my $client = $t->http_start('GET', $MAIL, token => $grant);

        $fake->await(qr/^GETEX .*$id/);
        past_the_lease();
        $fake->release($lease);
        is(outcome($client->response), $outcomes{$lease},
           "an answer that has taken longer than $LEASE s, of a lease of "
           . $lease);
        is($t->upstream_connections - $before,
           $outcomes{$lease} eq '200 ok' ? 1 : 0, '... and what arrives');
    }

    $fake->rules;
}


# What becomes of live keys, by whatever hand

sub changes {
    my %changes = (
        'DEL' => sub { redis('DEL', $_[0]) },
        'UNLINK' => sub { redis('UNLINK', $_[0]) },
        'a script' => sub {
            redis('EVAL', "redis.call('DEL', KEYS[1])", 1, $_[0]);
        },
        'expiry' => sub { redis('PEXPIRE', $_[0], 1) },
        'RENAME' => sub { redis('RENAME', $_[0], 'other') },
        'MOVE' => sub { redis('MOVE', $_[0], 1) },
        'FLUSHDB' => sub { redis('FLUSHDB') },
        'FLUSHALL' => sub { redis('FLUSHALL', 'ASYNC') },
        'eviction' => sub {
            my ($key) = @_;

            redis('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
            redis('CONFIG', 'SET', 'maxmemory', '1');
            $t->wait_for(sub { !redis('EXISTS', $key) }, undef, 'eviction');
        },
    );

    for my $name (sort keys %changes) {
        my ($id, $grant) = live();

        $changes{$name}->(live_key($id));
        becomes($grant, '401 not_live', $name);
        redis('CONFIG', 'SET', 'maxmemory', '0');
    }

    my ($id, $grant) = live();

    redis('SET', live_key($id), 'other');
    becomes($grant, '503 store_unavailable', 'another value');
    redis('SET', live_key($id), 'live');
    becomes($grant, '200 ok', '... and the right one again');
    redis('RPUSH', 'list', 1);
    redis('RENAME', 'list', live_key($id));
    becomes($grant, '503 store_unavailable', 'another type');
}

# A grant that is live and known, as far as can be seen from here.
sub live {
    my $id = Test::Lockbox::Conf::uuid7();
    my $grant = $t->grant(id => $id);

    becomes($grant, '200 ok', 'a grant');

    return ($id, $grant);
}


# Another Redis, or none

# What workers of another configuration, who finish what they have, still hear
# from theirs is not what counts here.
sub another_redis {
    my ($id, $grant) = live();

    $t->redis(name => 'second');
    change_conf(directives => {
        %{ $DIRECT{directives} },
        lockbox_redis => 'unix:%%TESTDIR%%/second.sock timeout=10s',
    });
    becomes($grant, '401 not_live', 'another Redis, which knows nothing');
    change_conf(%DIRECT);
    becomes($grant, '200 ok', 'the former one, which does');
    $t->redis_stop('second');
}

sub restarted {
    my ($id, $grant) = live();

    $t->redis_stop;
    becomes($grant, '503 store_unavailable', 'no Redis');
    $t->redis;
    reconnect();
    becomes($grant, '401 not_live', 'Redis, and without its data');
    redis('SET', live_key($id), 'live');
    becomes($grant, '200 ok', '... and with them again');
}

# It answers, and hears of everything late or never.
sub demoted {
    my ($id, $grant) = live();

    redis('REPLICAOF', '127.0.0.1', $t->port(1));
    becomes($grant, '503 store_unavailable', 'a Redis that is a replica now');
    redis('REPLICAOF', 'NO', 'ONE');
    becomes($grant, '200 ok', '... and is none again');
}

# A replica that is promoted, and has its data from another one first.
sub failed_over {
    my ($id, $grant) = live();

    $t->redis(name => 'third', port => 3);

    my $other = $t->redis_client('third');

    $other->command('SET', live_key($id), 'live');

    my ($lost, $gone) = live();

    redis('REPLICAOF', '127.0.0.1', $t->port(3));
    $t->wait_for(sub { !redis('EXISTS', live_key($lost)) }, undef,
                 'replication');
    redis('REPLICAOF', 'NO', 'ONE');
    becomes($gone, '401 not_live', 'what the new primary does not know');
    becomes($grant, '200 ok', '... and what it does');
    $t->redis_stop('third');
}

# A worker that ends while its heartbeat is not answered.
sub ended_while_asked {
    change_conf(%FAKED);
    $fake->forget;
    $fake->rules(rule(qr/^DEL lockbox:heartbeat/, [ 'wait', 'never' ]));
    $fake->await(qr/^DEL lockbox:heartbeat/);
    ok($t->stop, 'nginx ends while its heartbeat is not answered');
}
