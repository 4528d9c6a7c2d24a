#!/usr/bin/perl

# Why: a customer who has made the policy stricter must be able to rely on it
# from the answer on, on whichever nginx the others are.  Each time one comes
# first; what is stored and sealed is what the order of events says.  A race
# that was not won by both, or in which nobody's look was overtaken, was none,
# and fails.
#
# LOCKBOX_RACES is the number of rounds of each (20).

use strict;
use warnings;

use Lockbox::Jose qw(decode key);
use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Policy;
use Test::Lockbox::Race qw(lane lanes fire $RACE_SERVER);
use Test::Lockbox::Seals;

my $ROUNDS = $ENV{LOCKBOX_RACES} // 20;
my $MOST_ROUNDS = 10 * $ROUNDS + 100;

# seconds that a runner may start behind the other one
my $LONGEST_GAP = 0.002;

my ($one, $two) = map { Test::Lockbox->new } 1 .. 2;

begin($one, parts($one));
$two->upstream;
$two->write_conf($two->conf(parts($two)));
$two->run;

my $monitor = $one->redis_client;
$monitor->command('MONITOR');

for my $where ([ 'two workers', lanes($one, 2) ],
               [ 'two instances', lane($one), lane($two) ])
{
    my ($name, @lanes) = @$where;

    race("$name: a stricter policy against an approval", \@lanes,
         before => sub { set_policy(); return file() },
         policy => { services => ['files'] },
         against => 'approve', judge => \&judge_stricter);

    race("$name: a preapproval taken back against an approval", \@lanes,
         before => sub { set_policy(preapprovals => [triage()]);
                         return file() },
         policy => {},
         against => 'approve', judge => \&judge_taken_back);

    race("$name: a preapproval given against an approval", \@lanes,
         before => sub { set_policy(); return file() },
         policy => { preapprovals => [triage()] },
         against => 'approve', judge => \&judge_given);

    race("$name: a stricter policy against a filing", \@lanes,
         before => sub { set_policy(); return undef },
         policy => { services => ['files'] },
         against => 'file', judge => \&judge_filing);

    race("$name: two policies", \@lanes,
         before => sub { set_policy(); return undef },
         policy => { services => ['files'] },
         against => 'set_policy', judge => \&judge_two);
}

done_testing();


# Both use the Redis of the first, and keys of their own.
sub parts {
    my ($t) = @_;

    my ($own, $other) = map { key('P-256', $_) }
        $t == $one ? qw(first second) : qw(second first);
    my $redis = 'unix:' . $one->testdir . '/redis.sock timeout=10s';

    $t->write_file('own.pem', $own->{pem});
    $t->write_file('other.pem', $other->{public_pem});

    return (
        workers => $t == $one ? 2 : 1, server => $RACE_SERVER,
        directives => {
            lockbox_signing_key => '%%TESTDIR%%/own.pem',
            lockbox_accept_key => '%%TESTDIR%%/other.pem',
            lockbox_redis => $redis,
        },
    );
}

# As many rounds as asked for, and more if it has not been a race by then.
sub race {
    my ($name, $lanes, %race) = @_;

    my (@wrong, %won);
    my ($rounds, $overtaken) = (0, 0);

    while ($rounds < $ROUNDS
           || ($rounds < $MOST_ROUNDS && !(keys %won == 2 && $overtaken)))
    {
        my $round = run_round($lanes, $rounds++, %race);

        push @wrong, map { "round $rounds: $_" } @{ $round->{wrong} };
        $won{ $round->{first} }++;
        $overtaken++ if $round->{overtaken};
    }

    is_deeply(\@wrong, [], "$name: $rounds rounds");
    is(scalar keys %won, 2, '... both came first at times');
    cmp_ok($overtaken, '>', 0, '... and a look was overtaken');
}

sub run_round {
    my ($lanes, $number, %race) = @_;

    my $id = $race{before}->();
    my $version = redis('HGET', policy_key(), 'version') + 0;
    my @lanes = $number % 4 < 2 ? @$lanes : reverse @$lanes;
    my $gap = rand $LONGEST_GAP;
    my $last = redis('XREVRANGE', 'lockbox:{acme}:events', '+', '-', 'COUNT',
                     1)->[0][0];

    # what was sent before is of no interest
    sent();

    my @runners = (
        [ 'PUT', policy_uri(), token => token_of('customer'),
          json => { version => $version, policy => $race{policy} } ],
        $race{against} eq 'approve'
            ? [ 'POST', uri($id, 'approve'), token => token_of('manager'),
                json => { version => 1 } ]
        : $race{against} eq 'file'
            ? [ 'POST', $REQUESTS, token => token_of('engineer'),
                json => filing() ]
        :     [ 'PUT', policy_uri(), token => token_of('second-customer'),
                json => { version => $version, policy => {} } ],
    );
    my @order = $number % 2 ? (1, 0) : (0, 1);
    my @responses;

    @responses[@order] = fire(map {
        [ $lanes[$_], @{ $runners[$_] },
          after => $_ == $order[1] ? $gap : 0 ];
    } @order);

    my $tries = () = sent() =~ /"$race{against}" "\{/g;
    my @events = map { { @{ $_->[1] } } }
                     @{ redis('XRANGE', 'lockbox:{acme}:events', "($last",
                              '+') };
    my $round = {
        id => $id, version => $version, wrong => [],
        responses => \@responses, events => \@events,
        names => [ map { $_->{event} } @events ], tries => $tries,
        overtaken => $tries > 1,
    };

    $race{judge}->($round);

    return $round;
}

# What Redis was sent since the last time.
sub sent {
    my $mark = 'the end ' . rand;
    redis('ECHO', $mark);

    return $monitor->read_until(qr/\Q$mark\E"\r\n/);
}

sub expect {
    my ($round, $got, $wanted, $what) = @_;

    push @{ $round->{wrong} }, "$what: $got, not $wanted" if $got ne $wanted;
}

# The policies that the seals went by.
sub policies_of {
    my ($id) = @_;

    return join ' ', map { decode($_)->{payload}{policy_version} }
                     seals_of($id);
}

# Which of the two was announced first; the policy is in any case.
sub first_of {
    my ($round, $events) = @_;

    my ($set, $other) = @{ $round->{responses} };
    my $version = $round->{version};

    expect($round, outcome($set), '200 ok', 'the policy');
    expect($round, redis('HGET', policy_key(), 'version'), $version + 1,
           'its version');
    $round->{first} = $round->{names}[0] eq 'policy_changed' ? 'policy'
                                                             : 'other';
    expect($round, "@{ $round->{names} }",
           $events->{ $round->{first} }, 'events');

    return $round->{first} eq 'policy' ? $version + 1 : $version;
}

# What the policy does not allow any more is not tried again.
sub is_beaten {
    my ($round) = @_;

    my $beaten = $round->{first} eq 'policy';

    $round->{overtaken} = $beaten && $round->{tries} > 0;

    return $beaten;
}

sub judge_stricter {
    my ($round) = @_;

    my $by = first_of($round, {
        policy => 'policy_changed', other => 'approved policy_changed' });
    my $beaten = is_beaten($round);

    expect($round, outcome($round->{responses}[1]),
           $beaten ? '400 invalid_member' : '200 ok', 'the approval');
    expect($round, stored($round->{id})->{state},
           $beaten ? 'awaiting_manager' : 'awaiting_customer', 'the request');
    expect($round, policies_of($round->{id}),
           $beaten ? $round->{version} : "$round->{version} $by", 'the seals');
}

sub judge_taken_back {
    my ($round) = @_;

    my $by = first_of($round, {
        policy => 'policy_changed approved',
        other => 'approved approved policy_changed' });
    my $beaten = $round->{first} eq 'policy';

    expect($round, outcome($round->{responses}[1]), '200 ok', 'the approval');
    expect($round, stored($round->{id})->{state},
           $beaten ? 'awaiting_customer' : 'approved', 'the request');
    expect($round, policies_of($round->{id}),
           join(' ', $round->{version}, ($by) x ($beaten ? 1 : 2)),
           'the seals');
    expect($round, outcome(act('engineer', 'grant', $round->{id})),
           $beaten ? '409 conflict' : '200 ok', 'the grant');
}

sub judge_given {
    my ($round) = @_;

    my $by = first_of($round, {
        policy => 'policy_changed approved approved',
        other => 'approved policy_changed' });
    my $first = $round->{first} eq 'policy';

    expect($round, outcome($round->{responses}[1]), '200 ok', 'the approval');
    expect($round, stored($round->{id})->{state},
           $first ? 'approved' : 'awaiting_customer', 'the request');
    expect($round, policies_of($round->{id}),
           join(' ', $round->{version}, ($by) x ($first ? 2 : 1)),
           'the seals');
    expect($round, outcome(act('engineer', 'grant', $round->{id})),
           $first ? '200 ok' : '409 conflict', 'the grant');
}

sub judge_filing {
    my ($round) = @_;

    first_of($round, {
        policy => 'policy_changed', other => 'filed policy_changed' });

    my $response = $round->{responses}[1];
    my $beaten = is_beaten($round);

    expect($round, outcome($response),
           $beaten ? '400 invalid_member' : '201 ok', 'the filing');
    expect($round, policies_of($response->json->{id}), $round->{version},
           'its seal') if !$beaten;
}

# One replaces the version that both have seen.
sub judge_two {
    my ($round) = @_;

    my @responses = @{ $round->{responses} };
    my ($winner) = grep { $responses[$_]->status == 200 } 0, 1;

    expect($round, join(' ', sort map { outcome($_) } @responses),
           '200 ok 409 conflict', 'the answers');
    expect($round, "@{ $round->{names} }", 'policy_changed', 'events');
    expect($round, $round->{events}[0]{sub}, $winner ? 'cora' : 'carl',
           'the author');
    expect($round, policy_of()->json->{by}{sub}, $winner ? 'cora' : 'carl',
           'who is shown');
    expect($round, $responses[1 - $winner]->json->{version} // 'none',
           $round->{version} + 1, 'what the other is told');
    $round->{first} = $winner;
}
