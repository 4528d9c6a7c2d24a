#!/usr/bin/env perl

# Why: whatever happens to Redis, the answer is closed, comes in time, holds
# nobody else up, and is open again by itself once Redis is well.  This is the
# real one; what a false one might say is in t/redis_faults.t.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;

my $PASSWORD = 'right';

my $t = Test::Lockbox->new;

$t->write_file('password', "$PASSWORD\n");

# Redis is not there yet when the worker starts.
my %conf = (
    server => "location = /plain {\n    return 200 plain;\n}",
    directives => { lockbox_redis => redis_directive() },
);

$t->upstream;
$t->write_conf($t->conf(%conf));
$t->run;
use_world($t);

my $redis;

not_started();
begin_redis();

my $id = approved();
my $waiting = file();
my $grant = collect($id);
my ($worker) = $t->workers;

nothing_waits_for_redis();
troubled($_) for troubles();
full();
unknown_scripts();
flushed();
persistent();

done_testing();


sub redis_directive {
    my (@parameters) = @_;

    return join ' ', '%%REDIS%% user=lockbox connect_timeout=2s',
                     'password_file=%%TESTDIR%%/password',
                     @parameters ? @parameters : 'timeout=2s';
}

# The test is the default user, who needs no password.
sub begin_redis {
    $redis = $t->redis(port => 6379);
    reconnect();
    set_password($PASSWORD);
    $t->wait_for(sub { works() }, undef, 'Redis to be in use');
}

sub set_password {
    my ($password) = @_;

    redis('ACL', 'SETUSER', 'lockbox', 'on', 'resetpass', ">$password",
          '~lockbox:*', '+@all');
}

sub works {
    return ask('manager', 'GET', '/lockbox/v1/requests')->status == 200
           && knock(undef)->status == 401
           && (!$grant || knock($grant)->status == 200);
}

sub plain {
    return $t->http('GET', '/plain')->status;
}

sub closed {
    my ($name) = @_;

    my %refused = (
        'the gate' => sub { knock($grant // $t->grant(live => 0)) },
        'a filing' => sub {
            ask('engineer', 'POST', $REQUESTS, json => filing());
        },
        'a policy' => sub {
            ask('customer', 'PUT', '/lockbox/v1/tenants/acme/policy',
                json => { version => 0, policy => {} });
        },
        $id ? ('an approval' => sub {
            act('manager', 'approve', $waiting, { version => 1 });
        }, 'a collection' => sub { act('engineer', 'grant', $id) }) : (),
    );

    for my $what (sort keys %refused) {
        is(outcome($refused{$what}->()), '503 store_unavailable',
           "$name: $what");
        is(plain(), 200, '... and nobody else');
    }
}


sub not_started {
    closed('never there');
    is(outcome(ask('engineer', 'GET', '/lockbox/v1/whoami')), '200 ok',
       'who somebody is, Redis need not say');
}

# With all the time in the world: those who ask Redis wait, the worker's
# others do not.
sub nothing_waits_for_redis {
    $t->write_conf($t->conf(%conf, directives => {
        lockbox_redis => redis_directive('timeout=1h') }));
    $t->reload;
    ok(works(), 'a patient client');

    $redis->signal('STOP');

    my $gate = $t->http_start('GET', $MAIL, token => $grant);
    my $admin = $t->http_start('GET', uri($id), token => token_of('manager'));

    is(plain(), 200, 'while Redis stands still, others are answered')
        for 1 .. 3;

    $redis->signal('CONT');

    is($gate->response->status, 200, '... and then the gate is');
    is($admin->response->status, 200, '... and the admin API');

    $t->write_conf($t->conf(%conf));
    $t->reload;
    ($worker) = $t->workers;
}


# What goes wrong, and how it is mended.
sub troubles {
    return (
        [ 'down', sub {
            redis('SAVE');
            $t->redis_stop;
        }, \&begin_redis ],
        [ 'stalled', sub { $redis->signal('STOP') },
          sub { $redis->signal('CONT') } ],
        [ 'another password', sub {
            set_password('another');
            redis('CLIENT', 'KILL', 'USER', 'lockbox');
        }, sub { set_password($PASSWORD) } ],
        [ 'a user without rights', sub {
            redis('ACL', 'SETUSER', 'lockbox', '-@all');
        }, sub { redis('ACL', 'SETUSER', 'lockbox', '+@all') } ],
        [ 'a replica (R01)', sub { make_replica() },
          sub { redis('REPLICAOF', 'NO', 'ONE') } ],
    );
}

sub troubled {
    my ($name, $break, $mend) = @{ $_[0] };

    $break->();
    closed($name);
    $mend->();

    $t->wait_for(sub { works() }, undef, "the end of: $name");
    is_deeply([ $t->workers ], [$worker], "$name: over, without a restart");
    is(outcome(act('engineer', 'grant', $id)), '200 ok', '... for collecting');
    is(stored($waiting)->{state}, 'awaiting_manager',
       '... with nothing decided');
}

# Makes another Redis that has all of it the primary of this one.
sub make_replica {
    $t->redis(name => 'primary', port => 6380);
    my $primary = $t->redis_client('primary');

    follow($primary, 6379);
    $primary->command('REPLICAOF', 'NO', 'ONE');
    follow($t->redis_client, 6380);
}

sub follow {
    my ($client, $port) = @_;

    $client->command('REPLICAOF', '127.0.0.1', $t->port($port));
    $t->wait_for(sub {
        return $client->command('INFO', 'replication')
               =~ /^master_link_status:up\r$/m;
    }, undef, 'the replica');
}


# A full Redis can be read and freed: access is not given there, but ended.
sub full {
    my $other = approved();
    my $last = collect($other);

    redis('CONFIG', 'SET', 'maxmemory', 1);

    is(outcome(knock($last)), '200 ok', 'full: what is live goes on');
    is(outcome(ask('engineer', 'POST', $REQUESTS, json => filing())),
       '503 store_unavailable', '... nothing is filed');
    is(outcome(act('manager', 'approve', $waiting, { version => 1 })),
       '503 store_unavailable', '... or approved');
    is(outcome(act('customer', 'revoke', $other)), '200 ok',
       '... but all can be revoked');
    is(outcome(knock($last)), '401 revoked', '... which is heard');

    redis('CONFIG', 'SET', 'maxmemory', 0);
    is(stored($waiting)->{state}, 'awaiting_manager', '... and no more');
}


# Redis forgets scripts whenever it likes, and nobody notices.
sub unknown_scripts {
    my $request;
    my @steps = (
        sub { $request = file() },
        sub { act('manager', 'show', $request) },
        sub { approve('manager', $request) },
        sub { approve('customer', $request) },
        sub { collect($request) },
        sub { ask('manager', 'GET', $REQUESTS) },
        sub { took('engineer', 'complete', $request) },
    );

    for my $i (0 .. $#steps) {
        redis('SCRIPT', 'FLUSH');
        ok($steps[$i]->(), "step $i with no script in Redis");
    }

    is(stored($request)->{state}, 'completed', '... comes to its end');
}


sub flushed {
    redis('FLUSHALL');

    is(outcome(knock($grant)), '401 not_live', 'FLUSHALL closes (R19)');
    is(outcome(act('engineer', 'grant', $id)), '404 not_found',
       '... and nothing opens again');
    is(outcome(act('manager', 'show', $waiting)), '404 not_found',
       '... as nothing is left');
    is(outcome(knock($grant)), '401 not_live', '... nor springs back');

    my $new = approved();
    is(outcome(knock(collect($new))), '200 ok', '... but what is new');
}

# A live key that should have gone prolongs nothing.
sub persistent {
    my $now = time;
    my $name = Test::Lockbox::Conf::uuid7();
    my $over = $t->grant(id => $name, live => 0, iat => $now - 60,
                         exp => $now);
    my $good = $t->grant(id => $name, live => 0, iat => $now - 60,
                         exp => $now + 60);

    redis('SET', live_key($name), 'live');

    is(outcome(knock($over)), '401 expired', 'a key for ever (R21)');
    is(outcome(knock($good)), '200 ok', '... for a grant that lasts');
}
