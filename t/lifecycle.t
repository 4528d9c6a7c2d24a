#!/usr/bin/perl

# Each signal that an operator sends, with requests that wait for Redis and
# with responses under way: nothing is lost that nginx alone would not lose,
# and whoever has nothing left to do is gone.  The same is asked of nginx
# without the module.
#
# LOCKBOX_RELOADS is the number of reloads in a row (100).

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin qw(filing);
use Test::Lockbox::Process qw(poll);
use Test::Lockbox::Vitals qw(memory descriptors targets);

my $RELOADS = $ENV{LOCKBOX_RELOADS} // 100;

# reloads until the memory of the master has found its size
my $FIRST_RELOADS = int $RELOADS / 5;

# kB: less than a leak of 3 kB a reload makes
my $MEMORY_SLACK = 240;

my $REQUESTS = '/lockbox/v1/tenants/acme/requests';
my $SLOW = '/tenants/acme/mail/slow';
my $RUNNING = 8;
my $WAITING = 8;

my $STATUS = <<'EOF_CONF';
add_header X-Worker $pid;
proxy_buffering off;

location = /status {
    stub_status;
}
EOF_CONF

my %SCENARIOS = (
    'reload'                => \&reload,
    'reopen'                => \&reopen,
    'upgrade of the binary' => \&upgrade,
    'graceful stop'         => \&graceful_stop,
    'fast stop'             => \&fast_stop,
    'end of a worker'       => \&end_of_a_worker,
);

for my $module (1, 0) {
    for my $name (sort keys %SCENARIOS) {
        my $t = world($module);
        $SCENARIOS{$name}->($t, $name . ($module ? '' : ', nginx alone'));
    }
}

silent_store(world(1, 'timeout=1s'));
reloads(world(1));

done_testing();


# Worlds

sub world {
    my ($module, $redis_options) = @_;

    my $t = Test::Lockbox->new;

    $t->redis if $module;
    $t->upstream(handler => sub { answer($t, @_) });
    $t->write_conf($t->conf(
        module => $module, workers => 2, server => $STATUS,
        $module ? (directives => {
            lockbox_redis => '%%REDIS%% ' . ($redis_options // 'timeout=15s'),
            lockbox_lease => '60s',
        }) : ()));
    $t->run(upgradable => 1);
    $t->wait_for(sub { 2 == (my @both = $t->workers) }, undef,
                 'both workers');
    $t->{module} = $module;

    return $t;
}

# Half a response, and the rest when the test says so.
sub answer {
    my ($t, $request, $client) = @_;

    return Test::Lockbox::Upstream::echo($request)
        if $request->{uri} ne $SLOW;

    print {$client} "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello";
    $client->flush;
    poll(sub { $t->has_file('go') });
    print {$client} 'world';

    return;
}

# Responses under way, and requests that wait for a Redis that stands still.
sub in_flight {
    my ($t) = @_;

    my $grant = $t->{module} ? $t->grant : 'none';
    my $writing = writing($t);
    my @running = map { start_slow($t, $grant) } 1 .. $RUNNING;
    my @waiting;

    if ($t->{module}) {
        my @fresh = map { $t->grant } 1 .. $WAITING;
        my %token = map { $_ => $t->identity($_) } qw(engineer manager);

        $t->{redis}->signal('STOP');
        @waiting = map {
            $t->http_start('GET', '/tenants/acme/mail/quick',
                           token => shift @fresh),
            $t->http_start('GET', $REQUESTS, token => $token{manager}),
            $t->http_start('POST', $REQUESTS, token => $token{engineer},
                           json => filing()),
        } 1 .. $WAITING;
    }

    $t->wait_for(sub { writing($t) == $writing + @running + @waiting },
                 undef, 'all requests to be under way');

    return { running => \@running, waiting => \@waiting };
}

sub start_slow {
    my ($t, $grant) = @_;

    my $connection = $t->http_start('GET', $SLOW, token => $grant);
    my $head = $connection->head;

    return { connection => $connection, begun => $connection->read_bytes(5),
             worker => $head->header('x-worker') };
}

# The requests that nginx has read and not yet answered, besides this one.
sub writing {
    my ($t) = @_;

    return $1 - 1 if $t->http('GET', '/status')->body =~ /Writing: (\d+)/;
    die "no status\n";
}

# Lets all of it go on.
sub release {
    my ($t) = @_;

    $t->{redis}->signal('CONT') if $t->{module};
    $t->write_file('go', '');
}

# What came of each, in order: the status, or "none".  The connections are
# closed, as nginx lingers over those of requests with a body.
sub waited_for {
    my ($work) = @_;

    my @waiting = splice @{ $work->{waiting} };

    return map { eval { $_->response->status } // 'none' } @waiting;
}

# What came of each: what there is of the ten bytes.
sub ran {
    my ($work) = @_;

    return map { $_->{begun} . $_->{connection}->read_bytes(5) }
               @{ $work->{running} };
}

sub all_done {
    my ($t, $work, $name) = @_;

    waited_well($work, $name);
    ran_whole($work, $name);
    serves($t, $name);
    records_match($t, $name) if $t->{module};
}

sub waited_well {
    my ($work, $name) = @_;

    my @expected = (200, 200, 201) x (@{ $work->{waiting} } / 3);

    is_deeply([ waited_for($work) ], \@expected,
              "$name: who waited is answered");
}

sub ran_whole {
    my ($work, $name) = @_;

    is_deeply([ ran($work) ], [ ('helloworld') x $RUNNING ],
              "$name: responses are whole");
}

# New workers may have found no Redis, and come back to it by themselves.
sub serves {
    my ($t, $name) = @_;

    my $grant = $t->{module} ? $t->grant : 'none';
    my $served = poll(sub {
        return $t->http('GET', '/tenants/acme/mail/x', token => $grant)
                 ->status == 200;
    });

    ok($served, "$name: it goes on");
}

# Each intent has its outcome, once.
sub records_match {
    my ($t, $name) = @_;

    my $unmatched = sub {
        my %seen;

        for my $record (map { $t->json_lines($_) } qw(audit.log audit.log.1)) {
            $seen{ $record->{'event.id'} }{ $record->{'event.type'} }++;
        }

        return grep {
            ($_->{end} // 0) != 1 || ($_->{start} // 0) > 1
        } values %seen;
    };

    # an outcome is written when its answer has left
    ok(poll(sub { !$unmatched->() }), "$name: records are whole");
}

sub gone {
    my ($t, $name, @pids) = @_;

    ok(poll(sub { !still_there($t, @pids) }),
       "$name: the old ones go when they are done");
}

sub still_there {
    my ($t, @pids) = @_;

    my %there = map { $_ => 1 } $t->{nginx}->members;

    return grep { $there{$_} } @pids;
}


# Signals

sub reload {
    my ($t, $name) = @_;

    my @old = $t->workers;
    my $work = in_flight($t);

    $t->reload;
    release($t);
    all_done($t, $work, $name);
    gone($t, $name, @old);
}

sub reopen {
    my ($t, $name) = @_;

    my @pids = $t->{nginx}->members;
    my $dir = $t->testdir;
    my $work = in_flight($t);
    my $log = $t->{module} ? 'audit.log' : 'error.log';

    rename "$dir/$log", "$dir/$log.1" or die "$log: $!\n";
    $t->signal('USR1');
    $t->wait_for(sub {
        return !grep { $_ eq "$dir/$log.1" } map { targets($_) } @pids;
    }, undef, 'the logs to be reopened');

    release($t);
    all_done($t, $work, $name);
    is_deeply([ sort $t->{nginx}->members ], [ sort @pids ],
              "$name: by the same processes");
}

# Only a master that is a daemon heeds WINCH, and one that comes of an upgrade
# counts as such.
sub upgrade {
    my ($t, $name) = @_;

    my @first = $t->{nginx}->members;

    $t->upgrade;
    $t->wait_for(sub { !still_there($t, @first) }, undef,
                 'the first master to go');

    my @old = $t->{nginx}->members;
    my %old = map { $_ => 1 } @old;
    my $work = in_flight($t);

    $t->signal('USR2');
    $t->wait_for(sub {
        return $t->has_file('nginx.pid.oldbin')
               && grep { !$old{$_} } $t->workers;
    }, undef, 'a new master');

    $t->signal('WINCH', 'nginx.pid.oldbin');
    $t->wait_for(sub { !grep { $old{$_} } $t->workers }, undef,
                 'the old workers to stop');
    $t->signal('QUIT', 'nginx.pid.oldbin');

    release($t);
    all_done($t, $work, $name);
    gone($t, $name, @old);
}

sub graceful_stop {
    my ($t, $name) = @_;

    my $work = in_flight($t);

    # first one kind of work holds the workers, and then the other alone
    stop_with($t, 'QUIT');
    $t->write_file('go', '');
    ran_whole($work, $name);
    release($t);
    waited_well($work, $name);
    ended($t, $name);
    records_match($t, $name) if $t->{module};
}

sub fast_stop {
    my ($t, $name) = @_;

    my $work = in_flight($t);

    stop_with($t, 'TERM');
    ended($t, $name);
    release($t);

    is_deeply([ grep { /^2/ } waited_for($work) ], [],
              "$name: who waited is not served");
    is_deeply([ ran($work) ], [ ('hello') x $RUNNING ],
              "$name: responses are cut");
    is(scalar(grep { $_->{uri} ne $SLOW } $t->upstream_requests), 0,
       "$name: and the tenant API has not seen them");
}

# When this returns nobody is let in any more.
sub stop_with {
    my ($t, $signal) = @_;

    $t->signal($signal);
    $t->wait_for(sub { !eval { $t->http_connect } }, undef,
                 'the sockets to be closed');
}

sub ended {
    my ($t, $name) = @_;

    my $nginx = $t->{nginx};

    ok(poll(sub { !$nginx->members }), "$name: nginx ends");
    $t->forget($nginx);
}

sub end_of_a_worker {
    my ($t, $name) = @_;

    my @old = $t->workers;
    my $work = in_flight($t);
    my $killed = $work->{running}[0]{worker};

    $t->expect_log(qr/exited on signal 9/);
    kill 'KILL', $killed;
    $t->wait_for(sub {
        my @workers = $t->workers;
        return @workers == 2 && !grep { $_ == $killed } @workers;
    }, undef, 'a new worker');
    release($t);

    is_deeply([ ran($work) ],
              [ map { $_->{worker} == $killed ? 'hello' : 'helloworld' }
                    @{ $work->{running} } ],
              "$name: its responses are lost, and no others");

    my @waited = waited_for($work);

    is_deeply([ grep { !/^(?:20[01]|none)$/ } @waited ], [],
              "$name: who waited is answered, or was its own");
    serves($t, $name);
}

# A Redis that stays silent keeps no worker from going.
sub silent_store {
    my ($t) = @_;

    my $name = 'graceful stop without Redis';
    my $work = in_flight($t);

    stop_with($t, 'QUIT');
    $t->write_file('go', '');

    is_deeply([ waited_for($work) ], [ (503) x (3 * $WAITING) ],
              "$name: who waited is refused");
    ran_whole($work, $name);
    ended($t, $name);
    records_match($t, $name);
    $t->{redis}->signal('CONT');
}


# Many reloads

sub reloads {
    my ($t) = @_;

    my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
    my (%first, %last);

    for my $i (1 .. $RELOADS) {
        my @old = $t->workers;

        serves_quietly($t);
        $t->reload;
        $t->wait_for(sub { !still_there($t, @old) }, undef,
                     'the old workers to go');

        %first = vitals($t, $master) if $i == $FIRST_RELOADS;
    }

    %last = vitals($t, $master);

    for my $who (sort keys %first) {
        my ($before, $after) = ($first{$who}, $last{$who});

        is($after->{descriptors}, $before->{descriptors},
           "$RELOADS reloads: the descriptors of the $who");
        cmp_ok($after->{memory}, '<', $before->{memory} + $MEMORY_SLACK,
               "$RELOADS reloads: the memory of the $who");
        note("the $who after $FIRST_RELOADS and $RELOADS reloads: ",
             join ', ', map { "$_->{memory} kB, $_->{descriptors} open" }
             $before, $after);
    }
}

# One request of each kind.
sub serves_quietly {
    my ($t) = @_;

    my $got = sub {
        return $t->http(@_)->status == 200;
    };

    $t->wait_for(sub {
        return $got->('GET', '/tenants/acme/mail/x', token => $t->grant)
            && $got->('GET', $REQUESTS, token => $t->identity('manager'));
    }, undef, 'an answer');
}

# Of the master and of a worker, once all have their connections to Redis and
# no client is left.
sub vitals {
    my ($t, $master) = @_;

    my @workers = $t->workers;

    serves_quietly($t);

    $t->wait_for(sub {
        my @clients = $t->redis_cmd('CLIENT', 'LIST') =~ /name=lockbox-/g;
        return @clients == 4 * @workers;
    }, undef, 'all connections to Redis');

    $t->wait_for(sub { !open_connections($t->port(8080)) }, undef,
                 'the last client to be gone');

    return map {
        $_->[0] => { memory => memory($_->[1]),
                     descriptors => descriptors($_->[1]) }
    } ([ master => $master ], [ worker => $workers[0] ]);
}

# Connections that the server side of a port has not closed yet.
sub open_connections {
    my ($port) = @_;

    my $local = sprintf ':%04X', $port;

    open my $fh, '<', '/proc/net/tcp' or die "/proc/net/tcp: $!\n";

    # established, and closed by the other side alone
    return scalar(my @open = grep {
        my (undef, $address, undef, $state) = split;
        $address =~ /\Q$local\E$/ && $state =~ /^(?:01|08)$/;
    } <$fh>);
}
