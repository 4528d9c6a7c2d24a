#!/usr/bin/perl

# Workers are killed under load, at any point of their work.  Whatever the
# tenant API has seen by then has its intent on record: a request can be lost,
# but it cannot go unrecorded.
#
# LOCKBOX_KILLS is the number of kills (15).

use strict;
use warnings;

use JSON::PP ();
use Time::HiRes qw(time);

use Test::Lockbox;
use Test::Lockbox::Race qw(spin_until);
use Test::Lockbox::Recorder;

my $KILLS = $ENV{LOCKBOX_KILLS} // 15;
my $CLIENTS = 4;

# requests between two kills, and how long the last of them is under way by
# then, in seconds
my $BETWEEN = 10;
my $LONGEST_WAY = 0.003;

# bytes of an id and its end
my $LINE = 33;

my $t = Test::Lockbox->new;
my $mail = '/tenants/acme/mail/inbox';

# nginx frees what a worker has died with in its hands, and says so
$t->expect_log(qr/exited on signal 9|"lockbox_\S+" was locked by/);
$t->redis;
Test::Lockbox::Recorder::start($t);
$t->write_conf($t->conf(
    workers => 2, directives => { lockbox_redis => '%%REDIS%% timeout=10s' },
    server => <<'EOF_CONF'));
proxy_set_header X-Request-Id $lockbox_event_id;

location = /past-the-gate {
    proxy_set_header X-Request-Id $request_id;
    proxy_pass http://127.0.0.1:%%PORT_8081%%;
}
EOF_CONF
$t->run;

my $grant = $t->grant(life => 3600);
my @clients = map { start_client("client$_") } 1 .. $CLIENTS;

kill_one() for 1 .. $KILLS;

is((grep { !$t->stop_process($_) } @clients), 0, 'the clients end');
is($t->http('GET', $mail, token => $grant)->status, 200, 'it goes on');
ok($t->stop, 'nginx stops');

my ($intents, $outcomes, $torn) = read_records();
my @seen = Test::Lockbox::Recorder::ids($t);
my @missing = grep { !$intents->{$_} } @seen;
my @open = grep { !$outcomes->{$_} } keys %$intents;

cmp_ok(scalar @seen, '>=', $KILLS * $BETWEEN, 'there was load');
is(scalar @missing, 0, 'every request that came through has its intent');
cmp_ok(scalar @open, '>', 0, 'kills have cut requests short');
cmp_ok(scalar @open, '<=', $KILLS * $CLIENTS, 'and only those under way');
cmp_ok($torn, '<=', $KILLS, 'half a line at most is left by each kill');

my %statuses = map { status_counts($_) } 1 .. $CLIENTS;

is_deeply([ grep { !/^(?:200|lost)$/ } keys %statuses ], [],
          'whoever was not lost got an answer');

note(sprintf '%d kills, %d requests came through, %d intents missing, '
     . '%d intents without outcome, %d torn lines',
     $KILLS, scalar @seen, scalar @missing, scalar @open, $torn);

# what all of this rests on
$t->run;
$t->http('GET', '/past-the-gate');
($intents) = read_records();
is((grep { !$intents->{$_} } Test::Lockbox::Recorder::ids($t)), 1,
   'a request without an intent is found');

done_testing();


# Kills some worker while requests are on all their ways.
sub kill_one {
    my @workers = $t->workers;
    my $victim = $workers[rand @workers];
    my $file = $t->testdir . '/recorder.ids';
    my $enough = $BETWEEN * $LINE + -s $file;

    $t->wait_for(sub { $enough <= -s $file }, undef, 'requests');
    spin_until(time + rand $LONGEST_WAY);
    kill 'KILL', $victim;

    $t->wait_for(sub {
        my @now = $t->workers;
        return @now == 2 && !grep { $_ == $victim } @now;
    }, undef, 'a new worker');
}

# Asks and asks, and counts what it gets; a lost connection is made anew.
sub start_client {
    my ($name) = @_;

    return $t->start_process($name, code => sub {
        my ($stop, $connection, %count);
        local $SIG{TERM} = sub { $stop = 1 };

        until ($stop) {
            my $status = eval {
                $connection //= $t->http_connect;
                $connection->request('GET', $mail, token => $grant,
                                     keepalive => 1)->response->status;
            };

            undef $connection if !defined $status;
            $count{ $status // 'lost' }++;
        }

        $t->write_file("$name.json", JSON::PP::encode_json(\%count));
    });
}

sub status_counts {
    my ($number) = @_;

    return %{ JSON::PP::decode_json($t->read_file("client$number.json")) };
}

# The ids of requests let through, those of ended ones, and how many lines are
# no whole records.
sub read_records {
    my (%intents, %outcomes);
    my $torn = 0;

    open my $fh, '<:raw', $t->testdir . '/audit.log' or die "audit.log: $!\n";

    # parsed by hand, for there can be many
    while (my $line = <$fh>) {
        my ($type, $id) = $line =~ /^\{.*"event\.type":"(\w+)"
                                     .*"event\.id":"([\w-]+)".*\}$/x;

        if (!defined $id) {
            $torn++;
        } elsif ($type eq 'start') {
            $intents{$id} = 1;
        } else {
            $outcomes{$id} = 1;
        }
    }

    return (\%intents, \%outcomes, $torn);
}
